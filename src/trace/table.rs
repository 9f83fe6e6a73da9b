//! Reading a CSV file whose every complaint names file and line.

use csv::StringRecord;

use crate::error::{Error, Result};
use crate::scenario::did_you_mean;

/// A CSV text with a header, read row by row.
pub(crate) struct Table<'a> {
    file: &'a str,
    text: &'a str,
    header: Vec<String>,
    reader: csv::Reader<&'a [u8]>,
}

impl<'a> Table<'a> {
    /// Reads the header of `text`; `file` is its name in messages.
    pub fn open(file: &'a str, text: &'a str) -> Result<Self> {
        // Flexible, because a short row is our own complaint, with the line and the remedy.
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header: Vec<String> = reader
            .headers()
            .map_err(|error| Error::input(file, error, "the file has to be CSV text"))?
            .iter()
            .map(str::to_owned)
            .collect();
        let table = Self { file, text, header, reader };
        table.check_header()?;
        Ok(table)
    }

    fn check_header(&self) -> Result<()> {
        let place = self.place_of_offset(0);
        if self.header.is_empty() {
            return Err(Error::input(
                self.file,
                "the file is empty",
                "the first line names the columns, every further line is a row",
            ));
        }
        if let [only] = self.header.as_slice()
            && let Some(separator) = only.chars().find(|letter| matches!(letter, ';' | '\t'))
        {
            let separator = if separator == '\t' { "a tab" } else { "`;`" };
            return Err(Error::input(
                place,
                format!("the columns are separated by {separator}"),
                "separate them by commas, and write numbers with a decimal point",
            ));
        }
        if self.header.iter().all(|name| name.parse::<f64>().is_ok()) {
            return Err(Error::input(
                place,
                "the first line holds numbers, not the names of the columns",
                "put a line with the names before it, for example house,senti,numbr",
            ));
        }
        for (index, name) in self.header.iter().enumerate() {
            if name.is_empty() {
                return Err(Error::input(
                    place,
                    format!("column {} has no name", index + 1),
                    "name every column in the first line",
                ));
            }
            if self.header[..index].contains(name) {
                return Err(Error::input(
                    place,
                    format!("the column `{name}` is there twice"),
                    "give every column a name of its own",
                ));
            }
        }
        Ok(())
    }

    /// Names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The index of the column `name`.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.header.iter().position(|known| known == name).ok_or_else(|| {
            let known: Vec<&str> = self.header.iter().map(String::as_str).collect();
            Error::input(
                self.place_of_offset(0),
                format!("there is no column `{name}`"),
                format!("{}the columns are {}", did_you_mean(name, &known), known.join(", ")),
            )
        })
    }

    /// Reads the next row into `record`; `false` at the end.
    pub fn next(&mut self, record: &mut StringRecord) -> Result<bool> {
        let more = self
            .reader
            .read_record(record)
            .map_err(|error| Error::input(self.file, error, "the file has to be CSV text"))?;
        if more && record.len() != self.header.len() {
            return Err(Error::input(
                self.place(record),
                format!("{} cells for {} columns", record.len(), self.header.len()),
                "every row has one cell a column; the file may be cut off here",
            ));
        }
        Ok(more)
    }

    /// Name of the file.
    pub fn file(&self) -> &str {
        self.file
    }

    /// Where a row is in the text. Lines are counted only when a message needs one.
    pub fn offset(record: &StringRecord) -> usize {
        record.position().map_or(0, |position| position.byte() as usize)
    }

    /// `file:line` of a row.
    pub fn place(&self, record: &StringRecord) -> String {
        self.place_of_offset(Self::offset(record))
    }

    /// `file:line` of the first row at or after a byte offset.
    pub fn place_of_offset(&self, offset: usize) -> String {
        let bytes = self.text.as_bytes();
        let blank =
            bytes[offset..].iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
        let before = &bytes[..offset + blank];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("{}:{line}", self.file)
    }

    /// The finite number in a cell.
    pub fn number(&self, record: &StringRecord, column: usize) -> Result<f64> {
        let cell = &record[column];
        let problem = match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => return Ok(number),
            Ok(_) => format!("`{cell}` in column `{}` is not finite", self.header[column]),
            Err(_) if cell.is_empty() => format!("the cell of `{}` is empty", self.header[column]),
            Err(_) => format!("`{cell}` in column `{}` is not a number", self.header[column]),
        };
        Err(Error::input(
            self.place(record),
            problem,
            "write a finite number with a decimal point, as 34 or 5.25",
        ))
    }

    /// A complaint about the cell of `column` in the row `record`.
    pub fn complaint(
        &self,
        record: &StringRecord,
        column: usize,
        problem: &str,
        remedy: &str,
    ) -> Error {
        Error::input(
            self.place(record),
            format!("{} = {}: {problem}", self.header[column], &record[column]),
            remedy,
        )
    }
}
