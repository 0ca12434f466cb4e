//! The archive in which `torch.save` puts a pickle and the values of its tensors: a zip file of
//! stored entries.
use crate::tool::export::draft::Values;
use flate2::Crc;
use std::io::{self, BufWriter, Write};

/// What names of entries begin with.
const ROOT: &str = "archive";
/// Entries begin at multiples of this, so that their values can be mapped into memory.
const ALIGNMENT: usize = 64;
const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// The length of a local header without name and padding.
const HEADER_BYTES: usize = 30;

/// Writes the archive of a pickle and of the tensors that it refers to.
pub(super) fn write(
    file: impl Write,
    pickle: &[u8],
    tensors: &[(String, Values)],
) -> io::Result<()> {
    let mut archive = Archive {
        writer: BufWriter::new(file),
        position: 0,
        directory: vec![],
        entries: 0,
    };
    archive.add("data.pkl", pickle)?;
    archive.add("byteorder", b"little")?;
    for (i, (_, (_, values))) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        archive.add(&format!("data/{i}"), &bytes)?;
    }
    archive.add("version", b"3\n")?;
    archive.finish()
}

struct Archive<W: Write> {
    writer: BufWriter<W>,
    position: usize,
    /// The central directory so far.
    directory: Vec<u8>,
    entries: u16,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let name = format!("{ROOT}/{name}");
        let mut crc = Crc::new();
        crc.update(bytes);
        let size = within_4_gb(bytes.len())?;
        let offset = within_4_gb(self.position)?;
        // An extra field of padding: its number, its length, zeros.
        let before = self.position + HEADER_BYTES + name.len() + 4;
        let zeros = before.next_multiple_of(ALIGNMENT) - before;

        // Version 2.0, no flags, stored, no time (the first day of 1980).
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());

        let mut header = LOCAL_HEADER.to_le_bytes().to_vec();
        header.extend(&common);
        header.extend((zeros as u16 + 4).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(b"FB");
        header.extend((zeros as u16).to_le_bytes());
        header.resize(header.len() + zeros, 0);
        self.writer.write_all(&header)?;
        self.writer.write_all(bytes)?;
        self.position += header.len() + bytes.len();

        self.directory.extend(CENTRAL_HEADER.to_le_bytes());
        self.directory.extend([20, 0]);
        self.directory.extend(&common);
        self.directory.extend([0; 12]); // no extra field, comment, disk or attributes
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let start = within_4_gb(self.position)?;
        let size = within_4_gb(self.directory.len())?;
        let mut end = END.to_le_bytes().to_vec();
        end.extend([0; 4]);
        end.extend(self.entries.to_le_bytes());
        end.extend(self.entries.to_le_bytes());
        end.extend(size.to_le_bytes());
        end.extend(start.to_le_bytes());
        end.extend([0; 2]);
        self.writer.write_all(&self.directory)?;
        self.writer.write_all(&end)?;
        self.writer.flush()
    }
}

/// Returns a size or an offset as the archive holds it.
fn within_4_gb(bytes: usize) -> io::Result<u32> {
    let message = "this form holds at most 4 GB; use --format hf-code";
    u32::try_from(bytes).map_err(|_| io::Error::other(message))
}
