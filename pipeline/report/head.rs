//! What was run: the graph's name and purpose, the command line, versions, times, data.
use crate::graph::plan::Plan;
use chrono::DateTime;
use nodes::chart::svg::escape;
use serde_json::Value;

pub fn head(plan: &Plan, about: &Value) -> String {
    let (class, state) = match about["finished"].is_number() {
        true => ("done", "finished"),
        false => ("open", "not finished"),
    };
    let purpose = plan.resolved["about"]
        .as_str()
        .map(|says| format!("<p>{}</p>\n", escape(says)))
        .unwrap_or_default();
    format!(
        "<h1>{}</h1>\n<p class=\"{class}\">{state}</p>\n{purpose}",
        escape(&plan.name)
    )
}

/// From run.json.
pub fn table(about: &Value) -> String {
    let code = |text: &str| format!("<code>{}</code>", escape(text));
    let mut rows = vec![("command", code(&command(&about["arguments"])))];
    rows.extend(
        ["started", "finished"]
            .into_iter()
            .filter_map(|key| Some((key, time(&about[key])?))),
    );
    for key in ["version", "device", "threads", "seed"] {
        rows.push((
            key,
            escape(
                &about[key]
                    .as_str()
                    .map_or_else(|| about[key].to_string(), str::to_owned),
            ),
        ));
    }
    for (manifest, hash) in about["data"].as_object().into_iter().flatten() {
        let hash = hash
            .as_str()
            .map(|h| format!(" <span class=\"faint\">BLAKE3 {}</span>", escape(h)));
        rows.push(("data", code(manifest) + &hash.unwrap_or_default()));
    }
    let rows: String = rows
        .iter()
        .map(|(key, value)| format!("<tr><th>{key}</th><td>{value}</td></tr>\n"))
        .collect();
    format!("<details open><summary>the run</summary>\n<table>\n{rows}</table></details>\n")
}

/// As it was typed, but for quotes.
fn command(arguments: &Value) -> String {
    let text = |key: &str| arguments[key].as_str().map(quoted);
    let mut words = vec!["pipeline".to_owned(), "run".to_owned()];
    words.extend(text("graph"));
    let sets = arguments["set"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    words.extend(sets.flat_map(|set| ["--set".to_owned(), quoted(set)]));
    words.extend(
        text("out")
            .into_iter()
            .flat_map(|out| ["--out".to_owned(), out]),
    );
    words.extend(
        arguments["resume"]
            .as_bool()
            .filter(|r| *r)
            .map(|_| "--resume".to_owned()),
    );
    words.extend(
        arguments["steps"]
            .as_u64()
            .into_iter()
            .flat_map(|n| ["--steps".to_owned(), n.to_string()]),
    );
    words.join(" ")
}

/// For a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn time(seconds: &Value) -> Option<String> {
    Some(
        DateTime::from_timestamp(seconds.as_i64()?, 0)?
            .format("%Y-%m-%d %H:%M UTC")
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_may_be_typed_again() {
        let arguments = json!({ "graph": "g.json", "set": ["a.b=[1, 2]"], "out": "o", "resume": true, "steps": 3 });
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
