//! Kinds of nodes by their name in the graph file.
use super::{Config, OptionError};
use crate::node::contents::FileOption;
use crate::node::port::{Carries, Ports};
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// The options of a kind, and what is the same for every node of it.
pub trait KindOptions: Config + DeserializeOwned + JsonSchema + 'static {
    const PORTS: Ports;
    const ROLE: Role = Role::Ordinary;
    /// Whether a node has parameters that `optimize` must have a rate for.
    const TRAINS: bool = false;
    /// Whether a node may carry the option `cache`.
    const CACHEABLE: bool = false;
    /// Whether a node gathers over its phase what no checkpoint holds, so that the phase may not be
    /// resumed in its middle: it has no `optimize`.
    const FORGETS: bool = false;
    /// Whether a node gathers over a dev pass what it judges at the end of the pass, so that each
    /// process of a run has to see the whole set.
    const GATHERS: bool = false;
    /// Whether what a node leaves is of all rows of its phase, so that these may not be shared out to
    /// runs by shards.
    const NEEDS_ALL_ROWS: bool = false;
    /// The options that name files or folders which a node reads, by whose contents a run knows
    /// them again.
    const FILES: &[FileOption] = &[];
}

/// What a phase has at most one node of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Ordinary,
    /// Makes the steps of the phase.
    Source,
    /// Updates the parameters.
    Optimizer,
    /// Writes files that a phase has one of.
    Log,
}

/// A kind of node.
pub struct Kind {
    pub name: &'static str,
    pub ports: Ports,
    pub role: Role,
    pub trains: bool,
    pub cacheable: bool,
    pub forgets: bool,
    pub gathers: bool,
    pub needs_all_rows: bool,
    pub files: &'static [FileOption],
    pub parse: Parse,
    /// Returns the JSON Schema of the options; its `description` says what the node does.
    pub schema: fn() -> Json,
}

impl Kind {
    /// Describes the kind with these options.
    pub const fn of<O: KindOptions>(name: &'static str) -> Kind {
        Kind {
            name,
            ports: O::PORTS,
            role: O::ROLE,
            trains: O::TRAINS,
            cacheable: O::CACHEABLE,
            forgets: O::FORGETS,
            gathers: O::GATHERS,
            needs_all_rows: O::NEEDS_ALL_ROWS,
            files: O::FILES,
            parse: parse::<O>,
            schema: schema::<O>,
        }
    }

    /// Returns whether nodes of this kind send losses or penalties.
    pub fn measures(&self) -> bool {
        let mut outputs = self.ports.outputs.iter();
        outputs.any(|port| port.carries == Carries::Scalar)
    }
}

/// Returns a schema without references, with the descriptions of doc comments and serde's defaults.
fn schema<O: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = O::json_schema(&mut settings.into_generator());
    let drop_rust_formats = |s: &mut Schema| {
        if let Some(object) = s.as_object_mut() {
            object.retain(|key, _| key != "format");
        }
    };
    RecursiveTransform(drop_rust_formats).transform(&mut schema);
    schema.into()
}

/// Parses the options of one kind.
pub type Parse = fn(Json) -> Result<Box<dyn Config>, OptionError>;

/// Parses options that follow the kind's schema.
///
/// # Errors
/// The first thing that serde rejects, with its path.
pub fn parse<O: DeserializeOwned + Config + 'static>(
    options: Json,
) -> Result<Box<dyn Config>, OptionError> {
    match serde_path_to_error::deserialize::<_, O>(options) {
        Ok(options) => Ok(Box::new(options)),
        Err(e) => Err(OptionError {
            path: e.path().iter().map(|step| step.to_string()).collect(),
            message: e.inner().to_string(),
        }),
    }
}
