//! The stack machine of pickles (protocols 0 to 5; Python's `pickletools` describes the opcodes).
//!
//! Every opcode takes at least a byte of the file and adds a bounded number of values, so memory and
//! time are bounded by the length of the pickle. The machine does not recurse.
use super::bytes::Bytes;
use super::machine::Machine;
use super::operands::{class, number, pairs, parse, string};
use super::values::{Node, Pickle, Storage};
use super::{Fault, reduce};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// A pickle that has ended, and the storages that it names.
pub(super) struct Ended {
    pub(super) pickle: Pickle,
    pub(super) storages: BTreeMap<Arc<str>, Storage>,
}

/// Runs one pickle to its end, and reads no byte behind it.
pub(super) fn run<R: Read>(bytes: &mut Bytes<R>) -> Result<Ended, Fault> {
    let mut machine = Machine::default();
    loop {
        let opcode = bytes.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Ended {
                pickle: Pickle {
                    nodes: machine.nodes,
                    root,
                },
                storages: machine.storages,
            });
        }
        machine.step(opcode, bytes)?;
    }
}

impl Machine {
    fn step<R: Read>(&mut self, opcode: u8, bytes: &mut Bytes<R>) -> Result<(), Fault> {
        match opcode {
            // PROTO, FRAME
            0x80 => bytes.byte().map(drop),
            0x95 => bytes.array::<8>().map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.pop() {
                Ok(_) => Ok(()),
                // POP takes a mark that nothing lies on.
                Err(error) => self.marks.pop().map(drop).ok_or(error),
            },
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' | b'K' | b'M' | b'I' | b'L' | 0x8a | 0x8b | b'G' | b'F' => {
                let number = number(opcode, bytes)?;
                self.push(number)
            }
            b'X' | 0x8c | 0x8d | b'V' | b'S' | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => {
                let text = string(opcode, bytes)?;
                self.push(text)
            }
            b']' | 0x8f => self.push(Node::List(vec![])),
            b'l' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))
            }
            b')' => self.push(Node::Tuple(vec![])),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items))
            }
            0x85..=0x87 => {
                let mut items = vec![];
                for _ in 0..=opcode - 0x85 {
                    items.insert(0, self.pop()?);
                }
                self.push(Node::Tuple(items))
            }
            b'}' => self.push(Node::Dict(vec![])),
            b'd' => {
                let entries = pairs(self.pop_mark()?)?;
                self.push(Node::Dict(entries))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![(key, value)])
            }
            b'u' => {
                let entries = pairs(self.pop_mark()?)?;
                self.set_items(entries)
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(opcode, bytes),
            b'P' | b'Q' => {
                let id = match opcode {
                    b'P' => {
                        let line = bytes.line()?;
                        self.add(Node::Text(line.into()))?
                    }
                    _ => self.pop()?,
                };
                let loaded = reduce::persistent(self, id)?;
                self.push(loaded)
            }
            b'c' => {
                let class = class(&bytes.line()?, &bytes.line()?);
                self.push(class)
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let class = match (self.node(module), self.node(name)) {
                    (Node::Text(module), Node::Text(name)) => {
                        let (module, name) = (module.clone(), name.clone());
                        self.count_copied(module.len() + name.len())?;
                        class(&module, &name)
                    }
                    _ => return Err("is damaged: a class in its pickle has no name".into()),
                };
                self.push(class)
            }
            b'R' | 0x81 | 0x92 | b'i' | b'o' | b'b' => self.build(opcode, bytes),
            _ => Err(format!(
                "holds the opcode {opcode:#04x}, which no file of torch.save has"
            )),
        }
    }

    fn memo<R: Read>(&mut self, opcode: u8, bytes: &mut Bytes<R>) -> Result<(), Fault> {
        let number = match opcode {
            b'p' | b'g' => parse::<u64>(&bytes.line()?)?,
            b'q' | b'h' => u64::from(bytes.byte()?),
            b'r' | b'j' => u64::from(u32::from_le_bytes(bytes.array()?)),
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let place = self.memo.get(&number).copied();
            let place = place.ok_or("is damaged: its pickle uses a value before it is made")?;
            self.stack.push(place);
        } else {
            let top = self.top()?;
            self.memo.insert(number, top);
        }
        Ok(())
    }

    fn build<R: Read>(&mut self, opcode: u8, bytes: &mut Bytes<R>) -> Result<(), Fault> {
        if opcode == b'b' {
            let state = self.pop()?;
            let object = self.top()?;
            return reduce::set_state(self, object, state);
        }
        let (function, arguments) = match opcode {
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                (self.pop()?, arguments)
            }
            0x92 => {
                // Keyword arguments are of no call that is made.
                self.pop()?;
                let arguments = self.pop()?;
                (self.pop()?, arguments)
            }
            b'i' => {
                let class = class(&bytes.line()?, &bytes.line()?);
                let function = self.add(class)?;
                let arguments = self.pop_mark()?;
                (function, self.add(Node::Tuple(arguments))?)
            }
            _ => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return Err("is damaged: an object in its pickle has no class".into());
                }
                let function = arguments.remove(0);
                (function, self.add(Node::Tuple(arguments))?)
            }
        };
        let made = reduce::call(self, function, arguments)?;
        self.push(made)
    }
}
