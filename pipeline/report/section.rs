//! A section for each phase: what it did, its curves, and what it left of its models.
use super::models::{ModelChange, ModelSize};
use super::scores::{self, Score};
use super::summary::Summary;
use crate::format::{change, duration, loss_text, percent, short, thousands};
use crate::graph::plan::{Phase, Plan};
use nodes::chart::svg;
use nodes::chart::svg::escape;
use nodes::chart::{HEIGHT, WIDTH};
use nodes::chart::{charts, curves};

/// Returns the section of a phase; `curves` is `None` if the phase has no metrics.
pub(super) fn section(
    plan: &Plan,
    phase: &Phase,
    summary: &Summary,
    models: &[ModelChange],
    curves: Option<&curves::PhaseCurves>,
) -> String {
    let name = title(plan, phase, "Training");
    let Some(curves) = curves else {
        let reason = if phase.optimizer.is_some() {
            "Not begun."
        } else {
            "Nothing is trained here, so nothing is measured."
        };
        return format!("<h2>{name}</h2>\n<p class=\"faint\">{reason}</p>\n");
    };
    let facts = facts(summary);
    let charts: String = charts::all(curves)
        .iter()
        .map(|chart| card(&chart.draw()))
        .collect();
    let mut html = format!("<h2>{name}</h2>\n<p class=\"faint\">{facts}</p>\n");
    html += &format!("<div class=\"grid\">\n{charts}</div>\n");
    html += &format!("<p class=\"faint\">{}</p>\n", legend(curves));
    html += &models_table(models);
    html
}

/// Returns the section of a phase without an optimizer that has measured something.
pub(super) fn scored(plan: &Plan, phase: &Phase, scores: &[Score]) -> String {
    let name = title(plan, phase, "Scores");
    let table = scores::table(scores);
    format!("<h2>{name}</h2>\n<p class=\"faint\">Nothing is trained here.</p>\n{table}")
}

/// Returns the name of a phase, or `alone` in a graph that has only one.
fn title(plan: &Plan, phase: &Phase, alone: &str) -> String {
    if plan.phased {
        escape(&phase.name)
    } else {
        alone.to_owned()
    }
}

/// Returns the line under the title: updates, time, dev loss, sparsity.
fn facts(summary: &Summary) -> String {
    let updates = thousands(summary.updates);
    let mut facts = vec![format!(
        "{updates} updates in {}",
        duration(summary.seconds)
    )];
    if let Some([before, after]) = summary.dev_loss {
        let loss = change(&loss_text(before), &loss_text(after));
        facts.push(format!("dev loss {loss}"));
    }
    if let Some([expected, target]) = summary.sparsity {
        let written = summary.written_sparsity;
        let written = written.map_or(String::new(), |share| format!("{share:.4} written, "));
        facts.push(format!(
            "sparsity {expected:.4} expected, {written}aimed at {target:.4}"
        ));
    }
    facts.join(" · ")
}

/// Explains what the charts of a phase show.
fn legend(curves: &curves::PhaseCurves) -> String {
    let mut text =
        "A line is the mean over neighbouring updates, the band behind it their range; a \
                    dot is a pass over the dev set."
            .to_owned();
    if curves.curves.contains_key("sparsity_expected") {
        text += " Sparsity is the share of parameters that is removed: expected over the draws of \
                 the gates while they are trained, written in the model's files when they are \
                 decided.";
    }
    if curves.curves.contains_key("lambda1") {
        text += " λ₁ and λ₂ are the multipliers of the size constraint. The penalty λ₁ (s − t) + \
                 λ₂ (s − t)² draws the expected sparsity s to its target t: while s misses it, λ₂ grows, \
                 and λ₁ moves to the side of the miss.";
    }
    text
}

/// Returns the table of the models that the phase has written, below their teacher, and their bars;
/// empty if there is none.
fn models_table(models: &[ModelChange]) -> String {
    let mut rows = String::new();
    let mut bars = String::new();
    for model in models {
        rows += &model_row(model);
        for drawing in model.bars() {
            bars += &card(&drawing);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let teacher = models.iter().find_map(|model| model.teacher);
    let compared_with = if teacher.is_some() {
        "of the teacher's parameters"
    } else {
        "parameters left"
    };
    let mut head = "<tr><th>model</th>".to_owned();
    for column in ["parameters", "multiply-accumulates", compared_with] {
        head += &format!("<th class=\"number\">{column}</th>");
    }
    head += "</tr>";
    if let Some(teacher) = teacher {
        let cells = [
            thousands(teacher.parameters),
            short(teacher.macs),
            String::new(),
        ];
        rows = row("teacher", cells) + &rows;
    }
    format!(
        "<div class=\"wide\"><table>\n{head}\n{rows}</table></div>\n<div class=\"grid\">\n{bars}</div>\n"
    )
}

/// Returns the row of a model before and after its phase; empty if the phase has not written it.
fn model_row(model: &ModelChange) -> String {
    let Some(after) = model.after.as_ref().map(ModelSize::new) else {
        return String::new();
    };
    let before = model.before.as_ref().map(ModelSize::new);
    let changed = before.filter(|before| *before != after);
    let name = escape(&model.name);
    let mut parameters = thousands(after.parameters);
    let mut macs = short(after.macs);
    if let Some(before) = changed {
        parameters = change(&thousands(before.parameters), &parameters);
        macs = change(&short(before.macs), &macs);
    }
    let compared = model.teacher.or(before);
    let share = compared.map(|other| percent(after.parameters, other.parameters));
    row(&name, [parameters, macs, share.unwrap_or_default()])
}

fn row(name: &str, cells: [String; 3]) -> String {
    let cells = cells
        .map(|cell| format!("<td class=\"number\">{cell}</td>"))
        .concat();
    format!("<tr><td>{name}</td>{cells}</tr>\n")
}

fn card(drawing: &str) -> String {
    let drawing = svg::inline(WIDTH, HEIGHT, drawing);
    format!("<div class=\"card\">{drawing}</div>\n")
}
