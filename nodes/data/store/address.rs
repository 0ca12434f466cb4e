//! The parts of an address.
use std::io::{self, ErrorKind};
use std::path::Path;
#[cfg(feature = "store")]
use std::path::PathBuf;

const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// Where an object is. Keys are written as they are, without percent signs.
#[derive(Debug)]
#[cfg_attr(not(feature = "store"), allow(dead_code))] // only `remote` uses the parts
pub(super) struct Address<'a> {
    pub(super) scheme: &'a str,
    /// Empty for `file`.
    pub(super) bucket: &'a str,
    /// Without a slash at its beginning or end; empty for the whole bucket.
    pub(super) key: String,
}

/// Returns whether `path` is in an object store.
pub fn is_address(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://"));
    scheme.is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

impl<'a> Address<'a> {
    /// Parses an address. Folders called `.` are left out of its key.
    ///
    /// # Errors
    /// It names no bucket, or a folder that has no name or is called `..`.
    pub(super) fn parse(path: &'a Path) -> io::Result<Address<'a>> {
        let invalid = |message: &str| Err(io::Error::new(ErrorKind::InvalidInput, message));
        let Some((scheme, rest)) = path.to_str().and_then(|text| text.split_once("://")) else {
            return invalid("it is no address of an object store");
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() != (scheme == "file") {
            return invalid("its address is not `s3://bucket/key`, or `file:///path`");
        }
        let mut parts = vec![];
        for part in key.trim_end_matches('/').split('/') {
            match part {
                "." => (),
                "" if key.trim_end_matches('/').is_empty() => (),
                "" | ".." => return invalid("its address has a folder without a name, or `..`"),
                part => parts.push(part),
            }
        }
        Ok(Address {
            scheme,
            bucket,
            key: parts.join("/"),
        })
    }

    /// Returns the address of another key in the bucket.
    #[cfg(feature = "store")]
    pub(super) fn path_of(&self, key: &str) -> PathBuf {
        format!("{}://{}/{key}", self.scheme, self.bucket).into()
    }
}

#[cfg(test)]
mod tests {
    use super::Address;
    use std::path::Path;

    #[test]
    fn buckets_and_keys() {
        let parts = |path| {
            let address = Address::parse(Path::new(path)).unwrap();
            (address.bucket, address.key)
        };
        let cases = [
            ("s3://b/a b/c%20.wav", "b", "a b/c%20.wav"),
            ("gs://b", "b", ""),
            ("gs://b/", "b", ""),
            ("az://c/list/./x.tsv/", "c", "list/x.tsv"),
            ("file:///tmp/x", "", "tmp/x"),
        ];
        for (path, bucket, key) in cases {
            assert_eq!(parts(path), (bucket, key.to_owned()), "{path}");
        }
    }
}
