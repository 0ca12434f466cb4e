//! The sizes of a head: as the options state them, or as another model's embeddings have them.
use super::{ClassesOption, DEFAULT_WIDTH, FILE, Form, MAX_WIDTH, Options};
use crate::model::{Classes, LabelEmbeddings, Numbering, label_embeddings};
use crate::node::head_file::{HeadTensors, check_head_init};
use crate::node::{Artifact, OptionError, PhaseOutputs, artifact_owner, folder_owner};
use std::path::{Path, PathBuf};

/// The tensor of a head's file that holds the embeddings, (classes, width).
const EMBEDDINGS: &str = "label_embs";

/// Classes, and the width of what they are compared with.
pub(super) struct Sizes {
    pub(super) classes: usize,
    pub(super) numbering: Numbering,
    pub(super) width: usize,
    /// Whether the embeddings are another model's.
    pub(super) given: bool,
    /// Those embeddings, if their file is there.
    pub(super) embeddings: Option<Vec<f32>>,
}

impl Options {
    pub(super) fn errors(&self) -> Vec<OptionError> {
        let mut errors = vec![];
        for (option, value) in [("classes", self.count()), ("width", self.width)] {
            if let Some(value) = value {
                errors.extend(OptionError::outside(option, value, 1..=MAX_WIDTH));
            }
        }
        let temperature = self.temperature.unwrap_or(1.0);
        errors.extend(OptionError::unless(
            temperature > 0.0 && temperature.is_finite(),
            "temperature",
            format!("{temperature} is not above 0"),
        ));
        if self.r#type == Form::Linear {
            for (option, given) in [
                ("width", self.width.is_some()),
                ("temperature", self.temperature.is_some()),
                ("embeddings", self.embeddings.is_some()),
            ] {
                let message = "is for the type \"cosine\"";
                errors.extend(OptionError::unless(!given, option, message));
            }
        }
        if self.embeddings.is_none() {
            match self.classes {
                None => errors.push(OptionError::at("", "needs the option `classes`")),
                Some(ClassesOption::Of(_)) => errors.push(OptionError::option(
                    "classes",
                    "is a number here; \"clusters\" and \"rows\" are of `embeddings`",
                )),
                Some(ClassesOption::Count(_)) => {}
            }
        }
        errors
    }

    /// Returns the number of classes that the option states.
    fn count(&self) -> Option<usize> {
        match self.classes? {
            ClassesOption::Count(count) => Some(count),
            ClassesOption::Of(_) => None,
        }
    }

    /// Reads the embeddings, of the rows that the option `classes` names or has the number of.
    fn read_embeddings(&self, path: &Path) -> Result<LabelEmbeddings, OptionError> {
        let read = |classes| {
            label_embeddings(path, classes).map_err(|e| OptionError::option("embeddings", e))
        };
        let found = match self.classes {
            Some(ClassesOption::Of(classes)) => return read(classes),
            _ => read(Classes::Clusters)?,
        };
        if self
            .count()
            .is_none_or(|count| count == found.classes.count)
        {
            return Ok(found);
        }
        let rows = read(Classes::Rows)?;
        Ok(match self.count() == Some(rows.classes.count) {
            true => rows,
            false => found,
        })
    }

    /// Returns the sizes; `None` if they are those of a file that is not there. `locate` says where what
    /// `embeddings` names is.
    pub(super) fn sizes(
        &self,
        earlier: &PhaseOutputs,
        locate: impl Fn(&str) -> PathBuf,
    ) -> Result<Option<Sizes>, OptionError> {
        let Some(named) = self.embeddings.as_deref() else {
            return Ok(self.stated_sizes(false));
        };
        let written = self.written_embeddings(named, earlier)?;
        let path = locate(named);
        let found = if path.exists() {
            let found = self.read_embeddings(&path)?;
            Sizes {
                classes: found.classes.count,
                numbering: found.classes.numbering,
                width: found.size,
                given: true,
                embeddings: Some(found.values),
            }
        } else if let Some([classes, width]) = written {
            Sizes {
                classes,
                numbering: Numbering::Learned,
                width,
                given: true,
                embeddings: None,
            }
        } else {
            return Ok(self.stated_sizes(true));
        };
        for (option, stated, found) in [
            ("classes", self.count(), found.classes),
            ("width", self.width, found.width),
        ] {
            if stated.is_some_and(|stated| stated != found) {
                return Err(OptionError::option(
                    option,
                    format!("`{named}` has {found}"),
                ));
            }
        }
        Ok(Some(found))
    }

    /// Returns the sizes that the options state.
    fn stated_sizes(&self, given: bool) -> Option<Sizes> {
        self.count().map(|classes| Sizes {
            classes,
            numbering: Numbering::Learned,
            width: self.width.unwrap_or(DEFAULT_WIDTH),
            given,
            embeddings: None,
        })
    }

    /// Returns the shape of embeddings that an earlier phase will write; `None` for another path.
    fn written_embeddings(
        &self,
        named: &str,
        earlier: &PhaseOutputs,
    ) -> Result<Option<[usize; 2]>, OptionError> {
        let owner = artifact_owner(named, FILE).or_else(|| folder_owner(named));
        let Some(owner) = owner else {
            return Ok(None);
        };
        if let Some(Artifact::Head { tensors }) = earlier.0.get(owner)
            && let Some((_, shape)) = tensors.iter().find(|(name, _)| name == EMBEDDINGS)
            && let [classes, width] = shape[..]
        {
            return Ok(Some([classes, width]));
        }
        let message = format!("no node of an earlier phase writes label embeddings to `{named}`");
        Err(OptionError::option("embeddings", message))
    }

    /// Checks the option `init`, a folder with these tensors, and returns the file that must exist when
    /// the graph runs.
    pub(super) fn check_init(
        &self,
        tensors: &HeadTensors,
        earlier: &PhaseOutputs,
    ) -> Result<Option<String>, OptionError> {
        match self.init.as_deref() {
            Some(folder) if folder_owner(folder).is_none() => Ok(Some(format!("{folder}/{FILE}"))),
            init => check_head_init(init, tensors, earlier),
        }
    }

    /// Returns the number of embeddings, if there are any.
    pub(super) fn embedded_classes(&self, sizes: &Sizes) -> Option<usize> {
        (self.r#type == Form::Cosine).then_some(sizes.classes)
    }

    /// Returns the outputs of the linear map.
    pub(super) fn mapped_width(&self, sizes: &Sizes) -> usize {
        match self.r#type {
            Form::Cosine => sizes.width,
            Form::Linear => sizes.classes,
        }
    }
}

/// Lists the tensors of a head that maps `width` numbers to `mapped`, and has the embeddings of
/// `classes` if it has any.
pub(super) fn tensors(width: usize, mapped: usize, classes: Option<usize>) -> HeadTensors {
    let mut tensors = vec![
        ("final_proj.weight".to_owned(), vec![mapped, width]),
        ("final_proj.bias".to_owned(), vec![mapped]),
    ];
    tensors.extend(classes.map(|classes| (EMBEDDINGS.to_owned(), vec![classes, mapped])));
    tensors
}
