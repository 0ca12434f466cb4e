//! `report.html`: a run on one page, which opens without a network, in light and in dark mode.
//!
//! The page is written after each phase and at the end of the run, from the plan, run.json,
//! metrics.jsonl and the models that the run has written so far.
mod bars;
mod distance;
mod header;
pub mod measured;
pub mod models;
pub mod recorded;
mod scores;
mod section;
pub mod summary;
mod text;
mod tiles;
mod values;
mod written;

use crate::draw;
use crate::graph::plan::Plan;
use nodes::chart::curves;
use nodes::chart::svg;
use nodes::chart::svg::escape;
use serde_json::Value;
use std::path::Path;

/// Writes `report.html` into the run's folder.
///
/// `record` is the content of run.json, `metrics` that of metrics.jsonl.
pub fn write(
    plan: &Plan,
    run: &Path,
    record: &Value,
    metrics: &[curves::PhaseCurves],
) -> nodes::Result<()> {
    let page = page(plan, run, record, metrics);
    nodes::data::file::write_atomic(&run.join("report.html"), page.as_bytes())
}

fn page(plan: &Plan, run: &Path, record: &Value, metrics: &[curves::PhaseCurves]) -> String {
    let summaries = summary::read(plan, run, metrics);
    let models = models::read(plan, run);
    let scores: Vec<_> = plan
        .phases
        .iter()
        .map(|phase| {
            let curves = metrics.iter().find(|curves| curves.name == phase.name)?;
            let only_scores = phase.optimizer.is_none();
            only_scores.then(|| scores::scores(plan, run, phase, curves))
        })
        .collect();
    let title = escape(&plan.name);
    let meta = "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">";
    let page_style = include_str!("report/page.css");
    let chart_style = svg::STYLE;
    let mut html = String::new();
    html += "<!doctype html>\n<html lang=\"en\">\n<head>\n";
    html += &format!("{meta}\n<title>{title}</title>\n");
    html += &format!("<style>\n{page_style}{chart_style}</style>\n</head>\n<body>\n");
    html += &header::title(plan, record);
    html += &tiles::tiles(&summaries, &models, &scores, metrics);
    html += &header::run_table(record);
    for (i, phase) in plan.phases.iter().enumerate() {
        let curves = metrics.iter().find(|curves| curves.name == phase.name);
        html += &match &scores[i] {
            Some(scores) => section::scored(plan, phase, scores),
            None => section::section(plan, phase, &summaries[i], &models[i], curves),
        };
    }
    let graph = draw::svg::inline(plan);
    html += &format!("<h2>Graph</h2>\n<div class=\"graph\">\n{graph}</div>\n");
    let resolved = escape(&format!("{:#}", plan.resolved));
    html += &format!("<details><summary>as it is run</summary><pre>{resolved}</pre></details>\n");
    html += "</body>\n</html>\n";
    html
}
