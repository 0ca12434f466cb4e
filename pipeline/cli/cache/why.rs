//! `pipeline cache why GRAPH [--rows N] [--set a.b=v]... [--out DIR]`: why rows of a graph are not in
//! its caches.
use crate::dry_run::{DryRun, check_files};
use crate::ending::{CommandError, CommandResult};
use crate::print::print;
use crate::screen::Screen;
use crate::{graph, numbers};
use nodes::cache::why::{self, Comparison, Difference, EntryHits, SampledRows};
use nodes::data::printable::{printable, printable_path};
use nodes::data::store;
use nodes::node::port::MASK;
use nodes::node::{NodeContext, RunContext, StoredEntry};
use pipeline::format::thousands;
use pipeline::graph::plan::{Phase, Plan};
use pipeline::run::phase::node_context;
use pipeline::run::sample;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    /// Rows to look for
    #[arg(long, value_name = "N", default_value = "200", value_parser = numbers::rows)]
    rows: u64,
    /// The run's folder, where a teacher is a model of an earlier phase [default: runs/NAME of the
    /// graph]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// Prints the reasons for each node with a cache.
    pub(crate) fn run(self) -> CommandResult {
        let plan = self.graph.plan()?;
        let out = graph::run_folder(self.out.as_deref(), &plan);
        let mut text = String::new();
        for phase in &plan.phases {
            text += &self.phase_text(&plan, phase, &out)?;
        }
        if text.is_empty() {
            text = "no node of the graph has a `cache`\n".to_owned();
        }
        print(&text)
    }

    fn phase_text(&self, plan: &Plan, phase: &Phase, out: &Path) -> Result<String, CommandError> {
        let cached: Vec<usize> = (0..phase.nodes.len())
            .filter(|&node| phase.nodes[node].spec.cache.is_some())
            .collect();
        if cached.is_empty() {
            return Ok(String::new());
        }
        check_files(phase)?;
        let dry_run = DryRun {
            plan,
            phase,
            updates: 1,
            folder: out,
            synthetic: None,
            tapped: None,
            report: Arc::new(Screen::new()),
            stop: Arc::default(),
            ranks: Arc::default(),
        };
        let run = dry_run.context();
        let mut text = String::new();
        for node in cached {
            let name = phase.nodes[node].name();
            let cache = phase.nodes[node].spec.cache.as_deref().unwrap_or_default();
            let context = node_context(phase, &run, node);
            let in_phase = if plan.phased {
                format!(" of phase `{}`", phase.name)
            } else {
                String::new()
            };
            text += &format!("node `{name}`{in_phase}, cache {}\n", printable(cache));
            text += &self.node_text(phase, &run, node, &context, &context.path(cache))?;
        }
        Ok(text)
    }

    fn node_text(
        &self,
        phase: &Phase,
        run: &Arc<RunContext>,
        node: usize,
        context: &NodeContext,
        root: &Path,
    ) -> nodes::Result<String> {
        let planned = &phase.nodes[node];
        for path in &planned.info.reads {
            let path = context.path(path);
            if !store::try_exists(&path).unwrap_or(false) {
                return Ok(format!(
                    "  {} is not there yet: an earlier phase writes it, and then every row is \
                     computed; `--out` names the folder of a run that has it\n",
                    printable_path(&path)
                ));
            }
        }
        let config = &*planned.config;
        if let Some(port) = nodes::cache::uncached_output(config, context)? {
            return Ok(format!(
                "  `{port}` is read and not cached, so every row is computed and the cache is not \
                 used\n"
            ));
        }
        let comparisons = why::compare(config, root, &planned.spec.codec, context)?;
        let is_empty = |comparison: &Comparison| comparison.nearest.is_none();
        if comparisons.iter().all(is_empty) {
            return Ok(format!(
                "  it has no folder of a `{}`: nothing is stored, and every row is computed\n",
                planned.spec.kind
            ));
        }
        let mut sampled = SampledRows::new(self.rows as usize);
        let input = config.cacheable().map_or("", |cacheable| cacheable.input());
        let population =
            sample::inputs(phase, run, node, self.rows as usize, &mut |mut inputs| {
                let speech = inputs
                    .remove(input)
                    .ok_or("nothing is connected to its input")?;
                sampled.add(&speech, inputs.get(MASK.name))
            })?;
        let mut text = String::new();
        let mut is_complete = true;
        for comparison in &comparisons {
            let hits = comparison.hits(&sampled)?;
            is_complete &= is_full_hit(comparison, &hits, sampled.len());
            text += &fingerprint_text(comparison);
            for entry in &hits {
                text += &hits_text(entry, sampled.len());
            }
        }
        if is_complete {
            text += "  nothing differs and every row looked for is stored\n";
        }
        text += &estimate_text(sampled.len(), population.all, population.has_more_views);
        Ok(text)
    }
}

/// Whether the output has a folder of its own and every row is there.
fn is_full_hit(comparison: &Comparison, hits: &[EntryHits], rows: usize) -> bool {
    let nearest = comparison.nearest.as_ref();
    let has_folder = nearest.is_some_and(|nearest| nearest.differences.is_empty());
    has_folder && hits.iter().all(|entry| entry.stored == rows)
}

/// Tells whether the folder of an output is there, or what differs from the nearest one.
fn fingerprint_text(comparison: &Comparison) -> String {
    let fingerprint = &comparison.fingerprint;
    let port = comparison.port;
    let Some(nearest) = &comparison.nearest else {
        return format!("  `{port}`: nothing like its fingerprint {fingerprint} is in the cache\n");
    };
    if nearest.differences.is_empty() {
        return format!("  `{port}`: its fingerprint {fingerprint} is in the cache\n");
    }
    let mut text = format!(
        "  `{port}`: its fingerprint {fingerprint} is not in the cache, so every row is computed; \
         the nearest is {}\n",
        printable_path(&nearest.folder)
    );
    for difference in &nearest.differences {
        text += &difference_text(difference);
    }
    text + "    of the rows looked for, that folder has\n"
}

fn difference_text(difference: &Difference) -> String {
    format!(
        "    {}: {}: {} there, {} in the graph\n",
        difference.subject(),
        printable(&difference.key),
        value_text(difference.stored.as_deref()),
        value_text(difference.wanted.as_deref())
    )
}

fn value_text(json: Option<&str>) -> Cow<'_, str> {
    json.map_or(Cow::Borrowed("nothing"), printable)
}

fn hits_text(hits: &EntryHits, rows: usize) -> String {
    let entry = match hits.entry {
        StoredEntry::Layer(layer) => format!("layer {layer}: "),
        StoredEntry::Logits => "logits: ".to_owned(),
        StoredEntry::Rows => String::new(),
    };
    let mut text = format!("    {entry}{} of {rows} rows are stored\n", hits.stored);
    let reasons = [
        (hits.unknown, "are of utterances that are not stored"),
        (
            hits.other_length,
            "are of utterances stored with another length: another crop, or other audio",
        ),
        (
            hits.other_content,
            "are of utterances stored with the same length and other content: another view, mask \
             or start of the crop, or other audio",
        ),
    ];
    for (count, reason) in reasons {
        if count > 0 {
            text += &format!("      {count} {reason}\n");
        }
    }
    if hits.unreadable > 0 {
        text += &format!(
            "      {} parts cannot be read; `pipeline cache verify` tells why\n",
            hits.unreadable
        );
    }
    text
}

/// Says from how many rows the counts are.
fn estimate_text(rows: usize, all: u64, has_more_views: bool) -> String {
    let total = thousands(all);
    let mut text = if rows as u64 == all {
        format!("  all {total} rows were looked for")
    } else {
        format!(
            "  an estimate from {rows} of {total} rows, drawn in whole batches: a row's key is its \
             content, so only rows that are decoded can be looked for"
        )
    };
    if has_more_views {
        text += "; `views` is 0, so every later epoch has new rows";
    }
    text + "\n"
}
