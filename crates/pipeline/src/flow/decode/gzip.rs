//! gzip (RFC 1952): a header, a DEFLATE stream and a checksum, repeated for each member.

use flate2::Crc;

use super::{Damage, Step, deflate::Inflate};

/// A name or comment in a head may be as long, in bytes. Nobody reads it.
const TEXT_BYTES_MAX: usize = 4 << 10;

const FLAG_HEAD_CHECK: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// Undoes `gzip`.
pub(super) struct Gzip {
    part: Part,
    members: usize,
}

/// Where in a member we are. The numbers count the bytes of the part that were read.
enum Part {
    Fixed { at: usize, flags: u8 },
    ExtraLength { flags: u8, low: Option<u8> },
    Extra { flags: u8, left: u16 },
    Name { flags: u8, at: usize },
    Comment { flags: u8, at: usize },
    HeadCheck { at: usize },
    Body { inflate: Box<Inflate>, check: Crc },
    Tail { at: usize, check: Crc },
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { part: Part::Fixed { at: 0, flags: 0 }, members: 0 }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damage> {
        if let Part::Body { inflate, check } = &mut self.part {
            let step = inflate.step(input, output)?;
            check.update(output.get(..step.written).unwrap_or_default());
            if inflate.is_complete() {
                let check = std::mem::take(check);
                self.part = Part::Tail { at: 0, check };
            }
            return Ok(step);
        }
        let Some(byte) = input.first() else { return Ok(Step::default()) };
        self.take(*byte)?;
        Ok(Step { read: 1, written: 0 })
    }

    /// One byte of a head or tail.
    fn take(&mut self, byte: u8) -> Result<(), Damage> {
        match &mut self.part {
            Part::Fixed { at, flags } => {
                let right = match *at {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    2 => byte == 8,
                    3 => byte & FLAGS_RESERVED == 0,
                    // When it was made, how well, and where.
                    _ => true,
                };
                if !right {
                    let behind = *at == 0 && self.members > 0;
                    return Err(if behind { Damage::Trailing } else { Damage::Corrupt });
                }
                if *at == 3 {
                    *flags = byte;
                }
                *at += 1;
                if *at == 10 {
                    self.part = after_fixed(*flags);
                }
            }
            Part::ExtraLength { low: low @ None, .. } => *low = Some(byte),
            Part::ExtraLength { flags, low: Some(low) } => {
                self.part = match u16::from_le_bytes([*low, byte]) {
                    0 => after_extra(*flags),
                    left => Part::Extra { flags: *flags, left },
                };
            }
            Part::Extra { flags, left } => {
                *left -= 1;
                if *left == 0 {
                    self.part = after_extra(*flags);
                }
            }
            Part::Name { flags, at } => {
                if text_ends(at, byte)? {
                    self.part = after_name(*flags);
                }
            }
            Part::Comment { flags, at } => {
                if text_ends(at, byte)? {
                    self.part = after_comment(*flags);
                }
            }
            Part::HeadCheck { at } => {
                *at += 1;
                if *at == 2 {
                    self.part = body();
                }
            }
            Part::Tail { at, check } => {
                let [a, b, c, d] = check.sum().to_le_bytes();
                let [e, f, g, h] = check.amount().to_le_bytes();
                if [a, b, c, d, e, f, g, h].get(*at) != Some(&byte) {
                    return Err(Damage::Corrupt);
                }
                *at += 1;
                if *at == 8 {
                    self.members += 1;
                    self.part = Part::Fixed { at: 0, flags: 0 };
                }
            }
            Part::Body { .. } => {}
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.members > 0 && matches!(self.part, Part::Fixed { at: 0, .. })
    }
}

/// Whether a text of the head ends with `byte`.
fn text_ends(at: &mut usize, byte: u8) -> Result<bool, Damage> {
    *at += 1;
    if *at > TEXT_BYTES_MAX { Err(Damage::Corrupt) } else { Ok(byte == 0) }
}

fn after_fixed(flags: u8) -> Part {
    if flags & FLAG_EXTRA == 0 { after_extra(flags) } else { Part::ExtraLength { flags, low: None } }
}

fn after_extra(flags: u8) -> Part {
    if flags & FLAG_NAME == 0 { after_name(flags) } else { Part::Name { flags, at: 0 } }
}

fn after_name(flags: u8) -> Part {
    if flags & FLAG_COMMENT == 0 { after_comment(flags) } else { Part::Comment { flags, at: 0 } }
}

fn after_comment(flags: u8) -> Part {
    if flags & FLAG_HEAD_CHECK == 0 { body() } else { Part::HeadCheck { at: 0 } }
}

fn body() -> Part {
    Part::Body { inflate: Box::new(Inflate::new(false)), check: Crc::new() }
}
