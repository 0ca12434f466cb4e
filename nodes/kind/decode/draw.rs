//! Batches drawn from all that a source sends, for estimates.
//!
//! Whole batches are drawn, because crops and masks may depend on a row's batch.
use super::utterances::UtteranceSet;
use super::{Crop, Options};
use crate::Result;
use crate::node::port::Value;
use crate::node::step::StepInfo;
use crate::node::{NodeContext, SampledFrom};
use compute::random::Key;
use std::collections::BTreeSet;

/// Reads about `rows` rows in whole batches of all views and of the dev set, and passes each batch
/// to `visit`. The draw depends on nothing but the numbers of batches.
pub(super) fn draw_batches(
    options: &Options,
    rows: usize,
    context: &NodeContext,
    visit: &mut dyn FnMut(StepInfo, Value) -> Result<()>,
) -> Result<SampledFrom> {
    let bad_files = &context.run.bad_files;
    bad_files.allow(options.bad_files);
    let mut train =
        UtteranceSet::open(&options.manifest, options, options.crop, bad_files, context)?;
    let dev = match &options.dev {
        Some(manifest) => {
            let crop = Crop::None;
            Some(UtteranceSet::open(
                manifest, options, crop, bad_files, context,
            )?)
        }
        None => None,
    };
    let views = options.views.max(1);
    let train_batches = train.batches.len() as u64;
    let dev_batches = dev.as_ref().map_or(0, |dev| dev.batches.len() as u64);
    let dev_rows = dev.as_ref().map_or(0, UtteranceSet::len);
    let all_rows = train.len() * views + dev_rows;
    let all_batches = train_batches * views + dev_batches;
    let drawn = draw(all_batches, (rows as u64 * all_batches).div_ceil(all_rows));

    let seed = context.run.seed;
    let mut epoch = None;
    for index in drawn {
        let is_dev = index >= train_batches * views;
        let view = if is_dev { 0 } else { index / train_batches };
        if !is_dev && epoch != Some(view) {
            train.begin_epoch(seed, view, view);
            epoch = Some(view);
        }
        let (set, batch) = match &dev {
            Some(dev) if is_dev => (dev, index - train_batches * views),
            _ => (&train, index % train_batches),
        };
        let batch = set.batches.batch(batch as usize);
        let speech = set.read(batch, view, bad_files, context)?;
        if speech.ids.is_empty() {
            continue;
        }
        let info = StepInfo {
            epoch: view,
            dev: is_dev,
            ..StepInfo::default()
        };
        visit(info, speech.into_value(view)?)?;
    }
    Ok(SampledFrom {
        all: all_rows,
        has_more_views: options.views == 0,
    })
}

/// Draws `count` of the numbers below `total`; all of them if there are no more.
fn draw(total: u64, count: u64) -> BTreeSet<u64> {
    if count >= total {
        return (0..total).collect();
    }
    let key = Key::new(0, &["sampled batches"]);
    let mut drawn = BTreeSet::new();
    let mut draws = 0;
    while (drawn.len() as u64) < count {
        drawn.insert(key.below(0, draws, total));
        draws += 1;
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn distinct_numbers_are_drawn() {
        assert_eq!(draw(5, 9).len(), 5);
        let drawn = draw(1000, 300);
        assert_eq!(drawn.len(), 300);
        assert!(drawn.iter().all(|&number| number < 1000));
        assert_eq!(drawn, draw(1000, 300));
    }
}
