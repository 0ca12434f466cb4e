use super::*;
use crate::graph::json;
use nodes::KINDS;
use nodes::node::port::Ports;
use nodes::node::{OptionError, Role};
use serde_json::json;

/// Returns each problem's offset in the text and its message without "node `n`: ".
fn listed(problems: Problems) -> Vec<(usize, String)> {
    let mut list = vec![];
    for problem in problems.iter() {
        let Location::Byte(offset) = problem.location else {
            panic!("the options are in the file")
        };
        let message = problem.message.strip_prefix("node `n`: ");
        list.push((offset, message.expect("the node").to_owned()));
    }
    list
}

fn check(options: &str, schema: &Value) -> Vec<(usize, String)> {
    let mut problems = Problems::default();
    let options = json::parse(options, &mut problems).expect("JSON");
    let mut checker = Checker {
        node: "n",
        problems: &mut problems,
        path: vec![],
        wrong: BTreeSet::new(),
    };
    checker.check_object(&options, schema);
    listed(problems)
}

fn check_messages(options: &str, schema: &Value) -> Vec<String> {
    let problems = check(options, schema);
    problems.into_iter().map(|(_, message)| message).collect()
}

fn parse_with(kind: &Kind, options: &str) -> Vec<(usize, String)> {
    let mut problems = Problems::default();
    let options = json::parse(options, &mut problems).expect("JSON");
    assert!(parse("n", &options, kind, &mut problems).partial);
    listed(problems)
}

#[test]
fn null_is_an_alternative_to_one_schema() {
    let inner = json!({ "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "number" } } });
    let mode = json!({ "oneOf": [{ "const": "on" }, { "const": "off" }] });
    let schema = json!({ "properties": {
        "inner": { "anyOf": [inner, { "type": "null" }] },
        "mode": { "anyOf": [mode, { "type": "null" }] },
        "count": { "type": ["integer", "null"], "minimum": 0 },
    } });
    let nulls = r#"{"inner": null, "mode": null, "count": null}"#;
    assert!(check(nulls, &schema).is_empty());
    let values = r#"{"inner": {"a": 1}, "mode": "on", "count": 0}"#;
    assert!(check(values, &schema).is_empty());
    assert_eq!(
        check_messages(r#"{"inner": {}, "mode": "of", "count": -1}"#, &schema),
        [
            "option `inner`: needs the option `a`",
            "option `mode`: unknown variant `of`, expected `on` or `off`; did you mean `off`?",
            "option `count`: invalid value: number `-1`, expected a whole number from 0",
        ]
    );
    assert_eq!(
        check_messages(r#"{"inner": 5, "mode": [], "count": 0.5}"#, &schema),
        [
            "option `inner`: invalid type: number `5`, expected an object",
            "option `mode`: invalid type: a list, expected `on` or `off`",
            "option `count`: invalid type: number `0.5`, expected a whole number from 0",
        ]
    );
}

#[test]
fn null_is_wrong_where_the_schema_lacks_it() {
    let schema = json!({ "properties": {
        "list": { "type": "array", "items": { "type": "boolean" } },
        "object": { "anyOf": [{ "type": "object" }] },
    } });
    assert_eq!(
        check_messages(r#"{"list": null, "object": null}"#, &schema),
        [
            "option `list`: invalid type: null, expected a list",
            "option `object`: invalid type: null, expected an object",
        ]
    );
}

#[test]
fn several_alternatives_are_left_to_the_kind() {
    let alternatives = json!([{ "type": "string" }, { "type": "object" }, { "type": "null" }]);
    let schema = json!({ "properties": { "architecture": { "anyOf": alternatives } } });
    for value in ["\"name\"", "{\"a\": 1}", "null", "5"] {
        let options = format!("{{\"architecture\": {value}}}");
        assert!(check(&options, &schema).is_empty(), "{value}");
    }
}

#[test]
fn variants_are_listed_in_full() {
    let schema = json!({ "properties": {
        "one": { "enum": ["a"] },
        "two": { "oneOf": [{ "const": "a" }, { "const": "b" }] },
        "three": { "enum": ["a", "b", "c"] },
    } });
    assert!(check(r#"{"one": "a", "two": "b", "three": "c"}"#, &schema).is_empty());
    assert_eq!(
        check_messages(r#"{"one": "x", "two": true, "three": {}}"#, &schema),
        [
            "option `one`: unknown variant `x`, expected `a`",
            "option `two`: invalid type: boolean `true`, expected `a` or `b`",
            "option `three`: invalid type: an object, expected one of `a`, `b`, `c`",
        ]
    );
}

#[test]
fn nested_options_have_their_path_and_location() {
    let rate = json!({ "type": "object", "required": ["value"], "additionalProperties": false,
        "properties": { "value": { "type": "number" }, "name": { "type": "string" } } });
    let rates = json!({ "type": "object", "additionalProperties": rate });
    let terms = json!({ "type": "array", "items": rate });
    let schema = json!({ "properties": { "rates": rates, "terms": terms } });
    let options = r#"{"rates": {"a": {"value": "1"}, "b": 2}, "terms": [{"valve": 1}]}"#;
    let expected = [
        (
            "\"value\"",
            "option `rates.a.value`: invalid type: string \"1\", expected a number",
        ),
        (
            "\"b\"",
            "option `rates.b`: invalid type: number `2`, expected an object",
        ),
        ("\"valve\"", "unknown option `valve`; did you mean `value`?"),
        ("{\"valve\"", "option `terms[0]`: needs the option `value`"),
    ];
    let expected = expected.map(|(place, message)| {
        let offset = options.find(place).expect("a part of the text");
        (offset, message.to_owned())
    });
    assert_eq!(check(options, &schema), expected);
}

#[test]
fn lists_of_fixed_length_have_no_other() {
    let number = json!({ "type": "number" });
    let pair = json!({ "type": "array", "items": number, "minItems": 2, "maxItems": 2 });
    let list = json!({ "type": "array", "items": pair, "minItems": 1 });
    let schema = json!({ "properties": { "pairs": list } });
    assert!(check(r#"{"pairs": [[1, 2.5], [3, 4]]}"#, &schema).is_empty());
    assert_eq!(
        check_messages(r#"{"pairs": [[1, 2, 3], [], [1, "2"], 4]}"#, &schema),
        [
            "option `pairs[0]`: invalid length 3, expected an array of length 2",
            "option `pairs[1]`: invalid length 0, expected an array of length 2",
            "option `pairs[2][1]`: invalid type: string \"2\", expected a number",
            "option `pairs[3]`: invalid type: number `4`, expected an array of length 2",
        ]
    );
    assert_eq!(
        check_messages(r#"{"pairs": {}}"#, &schema),
        ["option `pairs`: invalid type: an object, expected a list"]
    );
}

#[test]
fn all_wrong_options_of_a_node_are_reported() {
    let kind = KINDS.iter().find(|kind| kind.name == "decode");
    let options = r#"{"manifest": 1, "view": 2, "views": -1, "crop": "al"}"#;
    let messages: Vec<String> = parse_with(kind.expect("a kind"), options)
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    assert_eq!(
        messages,
        [
            "option `manifest`: invalid type: number `1`, expected text",
            "unknown option `view`; did you mean `views`?",
            "option `views`: invalid value: number `-1`, expected a whole number from 0",
            "option `crop`: unknown variant `al`, expected one of `none`, `bucket`, `batch`, `window`",
            "needs the option `seconds_per_batch`",
        ]
    );
}

#[test]
fn what_the_kind_rejects_has_its_path_and_location() {
    let kind = Kind {
        name: "k",
        ports: Ports {
            inputs: &[],
            outputs: &[],
        },
        role: Role::Ordinary,
        trains: false,
        cacheable: false,
        forgets: false,
        gathers: false,
        needs_all_rows: false,
        files: &[],
        parse: |_| {
            Err(OptionError {
                path: vec!["terms".into(), "[1]".into(), "weight".into()],
                message: "too heavy".into(),
            })
        },
        schema: || json!({}),
    };
    let options = r#"{"terms": [{}, {"weight": 1}]}"#;
    let offset = options.find("\"weight\"").expect("a part of the text");
    let message = "option `terms[1].weight`: too heavy".to_owned();
    assert_eq!(parse_with(&kind, options), [(offset, message)]);
}
