//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `path` through a temporary file beside it, which is renamed when it is complete.
pub(super) fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|file| {
        let mut writer = BufWriter::new(file);
        fill(&mut writer)?;
        writer.flush()
    });
    match written {
        Ok(()) => {
            fs::rename(&temporary, path).map_err(|source| Error::io("rename to", path, source))
        }
        Err(source) => {
            // Whatever is left of it is worthless; that it cannot be removed changes nothing.
            let _ = fs::remove_file(&temporary);
            Err(Error::io("write", path, source))
        }
    }
}
