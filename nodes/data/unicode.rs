//! File names in another Unicode form: macOS writes `é` as two characters (NFD), most lists as one
//! (NFC).
use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Returns `path`, or the path of an existing file or folder whose name has the same characters in
/// another form.
pub(crate) fn existing(path: &Path) -> Cow<'_, Path> {
    let is_plain = path.to_str().is_none_or(str::is_ascii);
    if is_plain || path.symlink_metadata().is_ok() {
        return path.into();
    }
    let mut found = PathBuf::new();
    for component in path.components() {
        let next = found.join(component);
        found = match component {
            Component::Normal(name) if next.symlink_metadata().is_err() => {
                match name.to_str().and_then(|name| other_form(&found, name)) {
                    Some(other) => other,
                    None => return path.into(),
                }
            }
            _ => next,
        };
    }
    found.into()
}

/// Returns the path of what has the characters of `name` in `folder`.
fn other_form(folder: &Path, name: &str) -> Option<PathBuf> {
    let wanted = nfc(name);
    let nfd: String = name.nfd().collect();
    let direct = [wanted.to_string(), nfd].map(|name| folder.join(name));
    if let Some(path) = direct
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())
    {
        return Some(path);
    }
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    for entry in std::fs::read_dir(listed).ok()?.flatten() {
        let entry_name = entry.file_name();
        if entry_name
            .to_str()
            .is_some_and(|entry_name| nfc(entry_name) == wanted)
        {
            return Some(folder.join(entry_name));
        }
    }
    None
}

/// Returns a name in the form NFC.
pub(crate) fn nfc(name: &str) -> Cow<'_, str> {
    if is_nfc(name) {
        name.into()
    } else {
        name.nfc().collect::<String>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_form_finds_the_file() {
        let root = std::env::temp_dir().join(format!("unicode-{}", std::process::id()));
        let folder = root.join("caf\u{e9}");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("e\u{301}.wav"), "").unwrap();
        let wanted = root.join("cafe\u{301}/\u{e9}.wav");
        let found = existing(&wanted).into_owned();
        let missing = root.join("caf\u{e9}/\u{fc}.wav");
        let not_found = existing(&missing).into_owned();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, root.join("caf\u{e9}/e\u{301}.wav"));
        assert_eq!(not_found, missing);
    }
}
