//! Event files that TensorBoard reads.
//!
//! A file is a sequence of records: length as u64, masked CRC-32C of those eight bytes, data, masked
//! CRC-32C of the data, all little-endian (TensorFlow's record_writer.cc). Data is an `Event` in
//! protobuf's encoding (event.proto, summary.proto); the first one names the format's version. Of all
//! that the format can hold, numbers by step are what a training has.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What the first record of a file says.
const FILE_VERSION: &[u8] = b"brain.Event:2";

/// Writes one event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
    event: Vec<u8>,
}

impl EventWriter {
    /// Begins a new event file in `folder`, which is made where it is not there. TensorBoard shows all
    /// event files of a folder as one run, so a training that goes on begins another.
    ///
    /// `unix_s`: the time now, seconds since 1970; it is part of the file's name, by which TensorBoard
    /// sorts.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder cannot be made, [`Error::Io`] when the file cannot be written.
    pub fn create(folder: &Path, unix_s: f64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|source| {
            Error::input(
                folder.display(),
                format!("the folder cannot be created: {source}"),
                "choose another place for the output",
            )
        })?;
        let (path, file) = new_file(folder, unix_s.max(0.0) as u64)?;
        let mut writer = Self { path, file: BufWriter::new(file), event: Vec::new() };
        wall_time(&mut writer.event, unix_s);
        bytes(&mut writer.event, 3, FILE_VERSION);
        writer.record()?;
        writer.flush()?;
        Ok(writer)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds numbers of one step, each under its tag (`loss/value`: the part before the slash groups).
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn scalars<'a>(
        &mut self,
        step: u64,
        unix_s: f64,
        scalars: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<()> {
        self.event.clear();
        wall_time(&mut self.event, unix_s);
        tag(&mut self.event, 2, 0);
        varint(&mut self.event, step);
        let mut summary = Vec::new();
        for (name, number) in scalars {
            let mut value = Vec::with_capacity(name.len() + 8);
            bytes(&mut value, 1, name.as_bytes());
            tag(&mut value, 2, 5);
            value.extend_from_slice(&(number as f32).to_le_bytes());
            bytes(&mut summary, 1, &value);
        }
        bytes(&mut self.event, 5, &summary);
        self.record()
    }

    /// Hands everything over to the operating system.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|source| Error::io("write", &self.path, source))
    }

    fn record(&mut self) -> Result<()> {
        let length = (self.event.len() as u64).to_le_bytes();
        let parts = [
            &length[..],
            &masked_crc(&length).to_le_bytes(),
            &self.event,
            &masked_crc(&self.event).to_le_bytes(),
        ];
        for part in parts {
            self.file.write_all(part).map_err(|source| Error::io("write", &self.path, source))?;
        }
        Ok(())
    }
}

/// A file of a name that is not taken, as another training may have begun in the same second.
fn new_file(folder: &Path, unix_s: u64) -> Result<(PathBuf, File)> {
    let mut number = 0_u32;
    loop {
        let path = folder.join(format!("events.out.tfevents.{unix_s}.quotascale.{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(Error::io("create", &path, source)),
        }
    }
}

/// CRC-32C, turned and shifted so that a CRC of data that holds CRCs is a good one too.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Event.wall_time`, the first field.
fn wall_time(event: &mut Vec<u8>, unix_s: f64) {
    tag(event, 1, 1);
    event.extend_from_slice(&unix_s.to_le_bytes());
}

/// The key of field `number` in wire format `wire` (0 varint, 1 eight bytes, 2 length first, 5 four).
fn tag(into: &mut Vec<u8>, number: u64, wire: u64) {
    varint(into, number << 3 | wire);
}

fn bytes(into: &mut Vec<u8>, number: u64, content: &[u8]) {
    tag(into, number, 2);
    varint(into, content.len() as u64);
    into.extend_from_slice(content);
}

/// Seven bits a byte, the lowest first; the eighth bit says that more follow.
fn varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of
    /// ```python
    /// # pip install tensorboard setuptools
    /// from tensorboard.compat.proto.event_pb2 import Event
    /// from tensorboard.compat.proto.summary_pb2 import Summary
    /// from tensorboard.summary.writer.record_writer import RecordWriter
    /// value = Summary.Value
    /// with open("events", "wb") as file:
    ///     writer = RecordWriter(file)
    ///     writer.write(Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString())
    ///     values = [value(tag="a/b", simple_value=0.5), value(tag="c", simple_value=-2)]
    ///     writer.write(Event(wall_time=1.7e9 + 0.5, step=300, summary=Summary(value=values)).SerializeToString())
    /// ```
    #[test]
    fn the_bytes_are_those_of_tensorboards_own_writer() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&folder.path().join("new"), 1.7e9).unwrap();
        writer.scalars(300, 1.7e9 + 0.5, [("a/b", 0.5), ("c", -2.0)]).unwrap();
        writer.flush().unwrap();
        let name = writer.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(name, "events.out.tfevents.1700000000.quotascale.0");
        assert_eq!(hexadecimal(&std::fs::read(writer.path()).unwrap()), GOLDEN);
        // A second file in the same second has a name of its own.
        let second = EventWriter::create(&folder.path().join("new"), 1.7e9).unwrap();
        assert_ne!(second.path(), writer.path());
    }

    const GOLDEN: &str = "\
        1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d2400\
        000000000000422b804d0900002040fc54d94110ac022a160a0a0a03612f62150000003f0a080a016315\
        000000c046da26e3";

    #[test]
    fn a_place_that_cannot_be_made_is_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = EventWriter::create(&file.join("events"), 0.0).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
