//! Numbers of the command line. The messages of `str::parse` name neither the text nor what would
//! be right.

use nodes::node::Shard;

/// Parses a number of updates.
pub(crate) fn updates(text: &str) -> Result<u64, String> {
    whole(text, 1, u64::MAX, "number of updates")
}

/// Parses a number of updates to time.
pub(crate) fn timed_updates(text: &str) -> Result<u64, String> {
    whole(text, 1, 1_000_000, "number of updates")
}

/// Parses a number of rows to look for.
pub(crate) fn rows(text: &str) -> Result<u64, String> {
    whole(text, 1, 1_000_000, "number of rows")
}

/// Parses a share of the rows: `I/N`, I from 1 to N.
pub(crate) fn shard(text: &str) -> Result<Shard, String> {
    let numbers = text.split_once('/').and_then(|(share, count)| {
        let share: usize = share.parse().ok()?;
        Some((share, count.parse().ok()?))
    });
    match numbers {
        Some((share, count)) if (1..=count).contains(&share) => Ok(Shard {
            index: share - 1,
            count,
        }),
        _ => Err(format!(
            "'{text}' is no share of the rows; write I/N with I from 1 to N, such as 2/8"
        )),
    }
}

/// Parses a number of files.
pub(crate) fn files(text: &str) -> Result<u64, String> {
    whole(text, 0, u64::MAX, "number of files")
}

fn whole(text: &str, least: u64, most: u64, what: &str) -> Result<u64, String> {
    let number = text.parse().ok();
    let fits = |number: &u64| (least..=most).contains(number);
    number.filter(fits).ok_or_else(|| {
        let range = match most {
            u64::MAX => format!("from {least} on"),
            most => format!("from {least} to {most}"),
        };
        format!("'{text}' is no {what}; write a whole number {range}")
    })
}
