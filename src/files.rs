//! Writing result files: whole or not at all.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};

/// Creates `path` with what `write` puts into it, by way of a temporary file beside it that is
/// renamed when complete: whoever looks sees the old file or the new one, never a part.
///
/// # Errors
/// [`Error::Input`] when the folder of `path` cannot be created or written to, [`Error::Io`] when
/// writing or renaming fails.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    replace(path, write, false)
}

/// As [`write_atomically`], and the file is on the disk when this returns: a crash of the machine
/// leaves the old file or the new one too.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_durably(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    replace(path, write, true)
}

/// Writes a value as indented JSON.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)?;
        writeln!(writer)
    })
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    durably: bool,
) -> Result<()> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder).map_err(|source| unusable(folder, "created", source))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".quotascale-").suffix(".tmp");
    // Temporary files are private by default; a result is as readable as the user's umask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file =
        builder.tempfile_in(folder).map_err(|source| unusable(folder, "written to", source))?;
    {
        let mut writer = BufWriter::new(file.as_file_mut());
        write(&mut writer)
            .and_then(|()| writer.flush())
            .map_err(|source| Error::io("write", path, source))?;
    }
    if durably {
        file.as_file().sync_all().map_err(|source| Error::io("write", path, source))?;
    }
    file.persist(path).map_err(|failed| Error::io("rename", path, failed.error))?;
    #[cfg(unix)]
    if durably {
        // The new name is in the folder, which is to be on the disk as well.
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| Error::io("write to", folder, source))?;
    }
    Ok(())
}

/// Checks, before any work is done, that `path` may be written as a file.
///
/// # Errors
/// [`Error::Input`] when it is a folder, or exists and `force` is not set.
pub fn check_output(path: &Path, force: bool) -> Result<()> {
    if path.is_dir() {
        return Err(Error::input(path.display(), "is a folder", "name a file"));
    }
    if !force && path.exists() {
        return Err(Error::input(
            path.display(),
            "the file exists",
            "name another file, or replace it with --force",
        ));
    }
    Ok(())
}

/// The folder that holds `path`.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn unusable(folder: &Path, what: &'static str, source: io::Error) -> Error {
    // A full disk is no fault of the input.
    if source.kind() == io::ErrorKind::StorageFull {
        return Error::io("write to", folder, source);
    }
    Error::input(
        folder.display(),
        format!("the folder cannot be {what}: {source}"),
        "choose another place for the output",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/t.csv");
        write_atomically(&path, |writer| writer.write_all(b"one")).unwrap();
        let failed = write_atomically(&path, |writer| {
            writer.write_all(b"tw")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().exit_code(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = write_atomically(&file.join("t.csv"), |_| Ok(())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("file"), "{error}");
        assert_eq!(check_output(&file, false).unwrap_err().exit_code(), 2);
        assert_eq!(check_output(folder.path(), true).unwrap_err().exit_code(), 2);
        check_output(&file, true).unwrap();
    }
}
