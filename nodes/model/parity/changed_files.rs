//! Checkpoints of tests/golden/formats with changed bytes: each is read or refused, and says why.
use super::formats::open;
use super::golden;
use crate::Result;
use crate::model::{LoadedModel, UnknownKeys};
use compute::random::Key;
use flate2::Crc;
use std::fs;
use std::ops::Range;

/// Files made of each checkpoint.
const ROUNDS: u64 = 150;

/// A checkpoint to be changed.
#[derive(Clone)]
struct Changed {
    name: &'static str,
    bytes: Vec<u8>,
    /// Where the pickle is: the record `data.pkl` of an archive, all of a file of the older form.
    pickle: Range<usize>,
    /// Where the directory of an archive has the pickle's checksum.
    checksum: Option<usize>,
}

impl Changed {
    fn open(name: &'static str) -> Changed {
        let bytes = fs::read(golden("formats").join(name)).unwrap();
        let (pickle, checksum) = match bytes.starts_with(b"PK") {
            true => {
                let (pickle, checksum) = record_of(&bytes, |name| name.ends_with("/data.pkl"), 0);
                (pickle, Some(checksum))
            }
            false => (0..bytes.len(), None),
        };
        Changed {
            name,
            bytes,
            pickle,
            checksum,
        }
    }

    /// Loads the file, with the checksum of its pickle.
    fn load(mut self) -> Result<LoadedModel> {
        if let Some(place) = self.checksum {
            let mut sum = Crc::new();
            sum.update(&self.bytes[self.pickle]);
            self.bytes[place..place + 4].copy_from_slice(&sum.sum().to_le_bytes());
        }
        let thread = std::thread::current().id();
        let file = format!("changed-{}-{thread:?}-{}", std::process::id(), self.name);
        let path = std::env::temp_dir().join(file);
        fs::write(&path, &self.bytes).unwrap();
        let loaded = LoadedModel::load(&path, UnknownKeys::REFUSE);
        fs::remove_file(&path).unwrap();
        loaded
    }
}

fn is_truth(byte: u8) -> bool {
    matches!(byte, 0x88 | 0x89) // the opcodes of True and False
}

/// Returns where the first record of such a name and of at least `bytes` is, and where the directory has
/// its checksum.
fn record_of(
    archive: &[u8],
    is_named: impl Fn(&str) -> bool,
    bytes: usize,
) -> (Range<usize>, usize) {
    let find = |from: usize| {
        let pattern = b"PK\x01\x02";
        let found = archive[from..].windows(4).position(|w| w == pattern);
        from + found.expect("an entry of the directory")
    };
    let two = |place: usize| usize::from(archive[place]) | usize::from(archive[place + 1]) << 8;
    let four = |place: usize| two(place) | two(place + 2) << 16;
    let mut entry = find(0);
    loop {
        let name = entry + 46..entry + 46 + two(entry + 28);
        let size = four(entry + 20);
        if is_named(&String::from_utf8_lossy(&archive[name])) && size >= bytes {
            let header = four(entry + 42);
            let start = header + 30 + two(header + 26) + two(header + 28);
            return (start..start + size, entry + 16);
        }
        entry = find(entry + 4);
    }
}

/// A file whose configuration makes no sense, with checksums that do, is refused or read: sizes that an
/// architecture is built of are checked before it is.
#[test]
fn configurations_that_make_no_sense() {
    let draw = Key::new(3, &["configurations"]);
    let mut refused = 0;
    for (number, name) in [
        "arm.ckpt",
        "data2vec.pt",
        "distiller.ckpt",
        "distiller_fbank.ckpt",
        "dphubert.pth",
        "fairseq_ctc.pt",
        "fairseq_hubert.pt",
        "lighthubert_base.pt",
        "s3prl_hubert.pt",
        "torchaudio_large.pth",
        "torchaudio_wavlm.pth",
        "unilm_wavlm.pt",
    ]
    .into_iter()
    .enumerate()
    {
        let good = Changed::open(name);
        // Small integers (opcode K) and truth values, which are the sizes and options.
        let digits = |&place: &usize| good.bytes[place - 1] == b'K' || is_truth(good.bytes[place]);
        let places = good.pickle.clone().skip(1).filter(digits);
        let places: Vec<usize> = places.collect();
        for round in 0..ROUNDS {
            let mut bad = good.clone();
            let below = |i: u64, n: usize| {
                let uniform = draw.uniform(number as u64, round * 8 + i);
                (f64::from(uniform) * n as f64) as usize
            };
            for change in 0..1 + below(0, 2) as u64 {
                let place = places[below(2 * change + 1, places.len())];
                bad.bytes[place] = match bad.bytes[place] {
                    truth if is_truth(truth) => truth ^ 1,
                    _ => [0, 1, 2, 3, 7, 255][below(2 * change + 2, 6)],
                };
            }
            refused += u64::from(bad.load().is_err());
        }
    }
    assert!(refused > ROUNDS, "{refused}");
}

/// Whether waveforms are normalised is what the file says, not what its format says.
#[test]
fn a_checkpoint_says_whether_waveforms_are_normalised() {
    for name in [
        "fairseq_hubert.pt",
        "lighthubert_base.pt",
        "s3prl_hubert.pt",
        "unilm_wavlm.pt",
        "torchaudio_large.pth",
        "torchaudio_wavlm.pth",
    ] {
        let mut file = Changed::open(name);
        let key = match name.ends_with("pth") {
            true => &b"normalize_waveform"[..],
            false => b"normalize",
        };
        let is_key = |&place: &usize| file.bytes[place..].starts_with(key);
        let places = file.pickle.clone().filter(is_key);
        let truth = |place: usize| {
            let near = place + key.len()..place + key.len() + 24; // fairseq wraps it
            near.into_iter().find(|&place| is_truth(file.bytes[place]))
        };
        let truths: Vec<usize> = places.filter_map(truth).collect();
        assert!(!truths.is_empty(), "{name}");
        for place in truths {
            file.bytes[place] ^= 1;
        }
        let changed = file.load();
        let changed = changed.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            changed.model.normalize,
            !open(name).model.normalize,
            "{name}"
        );
    }
}

/// torchaudio's own builder has no such argument: then the norm of the extractor decides.
#[test]
fn a_file_of_torchaudio_may_leave_open_whether_waveforms_are_normalised() {
    for (name, normalize) in [("torchaudio_large.pth", true), ("dphubert.pth", false)] {
        let mut file = Changed::open(name);
        let key = b"normalize_waveform";
        let mut places = file.pickle.clone();
        let place = places.find(|&place| file.bytes[place..].starts_with(key));
        file.bytes[place.expect("the argument")] = b'x';
        let loaded = file.load();
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.model.normalize, normalize, "{name}");
        assert_eq!(loaded.normalization.file, None, "{name}");
    }
}

/// Queries, keys and values are thirds of a record, whose checksum is compared all the same.
#[test]
fn a_damaged_record_of_which_tensors_are_parts() {
    let mut file = Changed::open("torchaudio_wavlm.pth");
    let (weights, _) = record_of(&file.bytes, |name| name.contains("/data/"), 3 * 16 * 16 * 4);
    file.bytes[weights.start + 7] ^= 0x40; // in the first third
    let loaded = file.load();
    let error = loaded.err().expect("a damaged record").to_string();
    assert!(error.contains("their checksum differs"), "{error}");
}
