//! What a pickle is built with: its values, the stack, the memo.
use super::Fault;
use super::values::{Node, Object, Place, Storage};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The most elements that containers made of other containers copy.
const MOST_COPIED: usize = 1 << 22;

/// The state of the stack machine.
#[derive(Default)]
pub(super) struct Machine {
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<Place>,
    /// Heights of the stack at its marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u64, Place>,
    /// Elements that were copied from one container to another.
    copied: usize,
    pub(super) storages: BTreeMap<Arc<str>, Storage>,
}

impl Machine {
    pub(super) fn add(&mut self, node: Node) -> Result<Place, Fault> {
        let place = Place::try_from(self.nodes.len()).map_err(|_| "holds too many values")?;
        self.nodes.push(node);
        Ok(place)
    }

    pub(super) fn node(&self, place: Place) -> &Node {
        &self.nodes[place as usize]
    }

    /// Counts elements that are copied. One opcode may copy a container of any size, and memory shall
    /// be bounded by the file.
    pub(super) fn count_copied(&mut self, elements: usize) -> Result<(), Fault> {
        self.copied = self.copied.saturating_add(elements);
        if self.copied > MOST_COPIED {
            return Err("copies more values than a file of torch.save does".into());
        }
        Ok(())
    }

    pub(super) fn push(&mut self, node: Node) -> Result<(), Fault> {
        let place = self.add(node)?;
        self.stack.push(place);
        Ok(())
    }

    /// Takes the top of the stack, but nothing below a mark.
    pub(super) fn pop(&mut self) -> Result<Place, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("is damaged: its pickle takes a value that is not there".into());
        }
        Ok(self.stack.pop().unwrap_or_default())
    }

    pub(super) fn top(&self) -> Result<Place, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let unmarked = self.stack.get(floor..).unwrap_or_default();
        let top = unmarked.last().copied();
        top.ok_or_else(|| "is damaged: its pickle changes a value that is not there".into())
    }

    /// Takes all above the last mark, and the mark.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Place>, Fault> {
        let height = self
            .marks
            .pop()
            .filter(|height| *height <= self.stack.len());
        let height = height.ok_or("is damaged: its pickle lacks a mark")?;
        Ok(self.stack.split_off(height))
    }

    pub(super) fn append(&mut self, new: Vec<Place>) -> Result<(), Fault> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(items) | Node::Object(Object { items, .. }) => items.extend(new),
            _ => return Err("is damaged: its pickle appends to what is no list".into()),
        }
        Ok(())
    }

    pub(super) fn set_items(&mut self, new: Vec<(Place, Place)>) -> Result<(), Fault> {
        let dictionary = self.top()?;
        match &mut self.nodes[dictionary as usize] {
            Node::Dict(entries) | Node::Object(Object { entries, .. }) => entries.extend(new),
            _ => return Err("is damaged: its pickle sets keys of what is no dictionary".into()),
        }
        Ok(())
    }
}
