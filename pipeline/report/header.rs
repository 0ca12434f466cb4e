//! The top of the page: what was run. The graph's name and purpose, and from run.json the command
//! line, version, times, device and data.
use crate::format::shell_word;
use crate::graph::plan::Plan;
use chrono::DateTime;
use nodes::chart::svg::escape;
use serde_json::Value;

/// Returns the title, the state of the run and the purpose of the graph.
pub(super) fn title(plan: &Plan, record: &Value) -> String {
    let name = escape(&plan.name);
    let (class, state) = if record["finished"].is_number() {
        ("done", "finished")
    } else {
        ("open", "not finished")
    };
    let purpose = match plan.resolved["about"].as_str() {
        Some(text) => format!("<p>{}</p>\n", escape(text)),
        None => String::new(),
    };
    format!("<h1>{name}</h1>\n<p class=\"{class}\">{state}</p>\n{purpose}")
}

/// Returns the table of what run.json records.
pub(super) fn run_table(record: &Value) -> String {
    let code = |text: &str| format!("<code>{}</code>", escape(text));
    let mut rows = vec![("command", code(&command(&record["arguments"])))];
    for key in ["started", "finished"] {
        if let Some(time) = time(&record[key]) {
            rows.push((key, time));
        }
    }
    for key in ["version", "device", "threads", "seed"] {
        let text = match &record[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        rows.push((key, escape(&text)));
    }
    for (manifest, hash) in record["data"].as_object().into_iter().flatten() {
        let mut text = code(manifest);
        if let Some(hash) = hash.as_str() {
            text += &format!(" <span class=\"faint\">BLAKE3 {}</span>", escape(hash));
        }
        rows.push(("data", text));
    }
    let rows: String = rows
        .iter()
        .map(|(key, value)| format!("<tr><th>{key}</th><td>{value}</td></tr>\n"))
        .collect();
    format!("<details open><summary>the run</summary>\n<table>\n{rows}</table></details>\n")
}

/// Returns the command line that run.json records, quoted for a shell.
fn command(arguments: &Value) -> String {
    let mut words = vec!["pipeline".to_owned(), "run".to_owned()];
    if let Some(graph) = arguments["graph"].as_str() {
        words.push(shell_word(graph));
    }
    let settings = arguments["set"].as_array().into_iter().flatten();
    for setting in settings.filter_map(Value::as_str) {
        words.push("--set".to_owned());
        words.push(shell_word(setting));
    }
    if let Some(out) = arguments["out"].as_str() {
        words.push("--out".to_owned());
        words.push(shell_word(out));
    }
    if arguments["resume"] == true {
        words.push("--resume".to_owned());
    }
    if let Some(steps) = arguments["steps"].as_u64() {
        words.push("--steps".to_owned());
        words.push(steps.to_string());
    }
    words.join(" ")
}

/// Formats Unix seconds; `None` if `seconds` is not a whole number.
fn time(seconds: &Value) -> Option<String> {
    let time = DateTime::from_timestamp(seconds.as_i64()?, 0)?;
    Some(time.format("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_can_be_typed_again() {
        let arguments = json!({
            "graph": "g.json",
            "set": ["a.b=[1, 2]"],
            "out": "o",
            "resume": true,
            "steps": 3,
        });
        assert_eq!(
            command(&arguments),
            "pipeline run g.json --set 'a.b=[1, 2]' --out o --resume --steps 3"
        );
        assert_eq!(
            time(&json!(1_795_278_067)).as_deref(),
            Some("2026-11-21 16:21 UTC")
        );
    }
}
