//! Who speaks in a file, by its path in a corpus.
/// The folder of files that are directly in the corpus.
const ROOT: &str = ".";

/// What of a path names the speaker.
#[derive(Clone, Copy, Debug)]
pub enum SpeakerRule {
    /// The part before the first `-` of a name of the form A-B-N, N a number, as LibriSpeech's
    /// 84-121123-0000; of other names the folder.
    Name,
    /// The folder at this level, from 1, below the corpus.
    Level(usize),
}

impl SpeakerRule {
    /// Returns the speaker of a file, by its path relative to the corpus; `None` if it is in no
    /// folder at the level.
    pub(super) fn speaker<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (folder, name) = path.rsplit_once('/').unwrap_or((ROOT, path));
        match *self {
            SpeakerRule::Name => Some(speaker_of_name(name).unwrap_or(folder)),
            SpeakerRule::Level(level) => {
                let at_level = folder.split('/').nth(level - 1);
                at_level.filter(|folder| *folder != ROOT)
            }
        }
    }
}

/// Returns A of a file name of the form A-B-N with an extension.
fn speaker_of_name(name: &str) -> Option<&str> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let parts: Vec<&str> = stem.split('-').collect();
    let [speaker, chapter, number] = parts[..] else {
        return None;
    };
    let is_number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    (is_number && !speaker.is_empty() && !chapter.is_empty()).then_some(speaker)
}

#[cfg(test)]
mod tests {
    use super::SpeakerRule::{Level, Name};

    #[test]
    fn names_and_folders() {
        for (path, speaker) in [
            ("84/121123/84-121123-0000.flac", "84"),
            ("spk-a-001.wav", "spk"),
            ("anna/day-1/take.1.wav", "anna/day-1"),
            ("anna/a-b-c.wav", "anna"),
            ("anna/a-b-1-2.wav", "anna"),
            ("anna/-b-1.wav", "anna"),
            ("alone.wav", "."),
        ] {
            assert_eq!(Name.speaker(path).unwrap(), speaker, "{path}");
        }
    }

    #[test]
    fn levels_are_folders() {
        let path = "en/anna/1/84-2-3.wav";
        let levels = [1, 2, 3, 4].map(|level| Level(level).speaker(path));
        assert_eq!(levels, [Some("en"), Some("anna"), Some("1"), None]);
        assert_eq!(Level(1).speaker("a.wav"), None);
    }
}
