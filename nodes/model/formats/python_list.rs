//! Lists as configurations of fairseq write them, in Python: `[(512, 10, 5)] + [(512, 3, 2)] * 4`,
//! `[True, False]`.
use super::keys::Keys;
use serde_json::Value as Json;

/// The most elements of a list.
const LONGEST: usize = 1024;

/// Channels, kernel and stride of each convolution.
#[derive(Debug, PartialEq)]
pub(super) struct Convolutions {
    pub(super) channels: Vec<usize>,
    pub(super) kernels: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What fairseq has where a configuration says nothing.
const DEFAULT: &str = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2";

/// Reads the convolutions of a key: Python's text, or a list of lists.
pub(super) fn convolutions(keys: &Keys, key: &str) -> Result<Convolutions, String> {
    let default = Json::from(DEFAULT);
    let value = keys.get(key).unwrap_or(&default);
    let triples = match value {
        Json::String(text) => parse(text),
        Json::Array(items) => items.iter().map(numbers).collect(),
        _ => None,
    };
    let shown = value.to_string();
    let wrong = || format!("its `{key}` is {shown}, not a list of (channels, kernel, stride)");
    let triples = triples.ok_or_else(wrong)?;
    let column = |i: usize| -> Option<Vec<usize>> {
        triples
            .iter()
            .map(|triple| triple.get(i).copied().filter(|_| triple.len() == 3))
            .collect()
    };
    match (column(0), column(1), column(2)) {
        (Some(channels), Some(kernels), Some(strides)) => Ok(Convolutions {
            channels,
            kernels,
            strides,
        }),
        _ => Err(wrong()),
    }
}

/// Reads a list of truth values.
pub(super) fn flags(text: &str) -> Option<Vec<bool>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let items = inner
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let flags = items.map(|item| match item {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    });
    flags.take(LONGEST + 1).collect()
}

fn numbers(value: &Json) -> Option<Vec<usize>> {
    let items = value.as_array()?.iter();
    items
        .map(|item| {
            item.as_u64()
                .and_then(|number| usize::try_from(number).ok())
        })
        .collect()
}

/// Reads a sum of lists of tuples, each of which may be repeated.
fn parse(text: &str) -> Option<Vec<Vec<usize>>> {
    let mut parsed = vec![];
    for term in text.split('+') {
        let (list, times) = match term.split_once('*') {
            Some((list, times)) if list.contains('[') => (list, times.trim().parse().ok()?),
            Some((times, list)) => (list, times.trim().parse().ok()?),
            None => (term, 1),
        };
        let inner = list.trim().strip_prefix('[')?.strip_suffix(']')?;
        let tuples = tuples(inner)?;
        if tuples.len().checked_mul(times)?.checked_add(parsed.len())? > LONGEST {
            return None;
        }
        for _ in 0..times {
            parsed.extend(tuples.iter().cloned());
        }
    }
    Some(parsed)
}

/// Reads `(1, 2, 3), (4, 5, 6)`.
fn tuples(text: &str) -> Option<Vec<Vec<usize>>> {
    let mut tuples = vec![];
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (tuple, after) = rest.strip_prefix('(')?.split_once(')')?;
        let items = tuple
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        tuples.push(
            items
                .map(|item| item.parse().ok())
                .collect::<Option<Vec<_>>>()?,
        );
        rest = after.trim().trim_start_matches(',').trim_start();
    }
    Some(tuples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Json) -> Result<Convolutions, String> {
        let keys = Keys::of(json!({ "layers": value }), "configuration").expect("a dictionary");
        convolutions(&keys, "layers")
    }

    #[test]
    fn sums_and_repetitions_are_read() {
        let base = read(Json::Null).expect("the default");
        assert_eq!(base.kernels, [10, 3, 3, 3, 3, 2, 2]);
        assert_eq!(base.strides, [5, 2, 2, 2, 2, 2, 2]);
        let arm = read(json!(
            "[(128,10,5)] + [(256, 1, 1),(256,3,2)] * 2+[(480, 2, 2)]"
        ));
        assert_eq!(arm.expect("read").channels, [128, 256, 256, 256, 256, 480]);
        let before = read(json!("[(8, 10, 5)] + 2 * [(4, 3, 2)]"));
        assert_eq!(before.expect("read").channels, [8, 4, 4]);
        assert_eq!(
            read(json!([[4, 10, 5], [6, 3, 2]])).expect("read").channels,
            [4, 6]
        );
    }

    #[test]
    fn what_is_no_list_of_convolutions_is_named() {
        for text in [
            "",
            "[(1, 2)]",
            "[(1, 2, 3)] * -1",
            "[(1,2,3)] * 99999999",
            "exit()",
            "[1, 2]",
        ] {
            let error = read(json!(text)).expect_err(text);
            assert!(error.starts_with("its `layers` is "), "{error}");
        }
    }

    #[test]
    fn flags_are_read() {
        assert_eq!(flags("[True, False,True]"), Some(vec![true, false, true]));
        assert_eq!(flags("[]"), Some(vec![]));
        assert_eq!(flags("[1]"), None);
        assert_eq!(flags("None"), None);
    }
}
