//! Recognises files that stand in place of others: the pointer that Git leaves where Git LFS is not
//! installed, and the page that a server sends where a download was asked for.

/// How many first bytes tell.
pub(crate) const HEAD_BYTES: usize = 64;

/// The first bytes of a Git LFS pointer.
const LFS: &[u8] = b"version https://git-lfs";

/// The first bytes of web pages, in lower case.
const PAGES: [&[u8]; 2] = [b"<!doctype html", b"<html"];

/// Returns what stands in place of a file that begins with `head`, and how to get the file; `None`
/// if nothing tells that it is not the file itself.
pub(crate) fn placeholder(head: &[u8]) -> Option<&'static str> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if head.starts_with(LFS) {
        return Some("it is a Git LFS pointer, not the file; fetch the file with `git lfs pull`");
    }
    let head = head.trim_ascii_start();
    let is_page = PAGES.iter().any(|page| {
        head.get(..page.len())
            .is_some_and(|first| first.eq_ignore_ascii_case(page))
    });
    is_page.then_some("it is a web page, not the file; check the address and download it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told_from_files() {
        let says = |head: &str| placeholder(head.as_bytes()).unwrap_or_default();
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n";
        assert!(says(pointer).starts_with("it is a Git LFS pointer"));
        for page in ["<!DOCTYPE html><html>", "\u{feff}\n <HTML lang=\"en\">"] {
            assert!(says(page).starts_with("it is a web page"), "{page}");
        }
        for file in [
            "",
            "<",
            "{\"a\": 1}",
            "version 1",
            "/data/speech\na.flac\t400",
        ] {
            assert_eq!(says(file), "", "{file}");
        }
    }
}
