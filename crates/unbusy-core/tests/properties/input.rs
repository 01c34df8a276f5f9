//! A fuzzer's bytes, read as choices.

/// Gives zeros when the bytes are used up.
#[derive(Debug)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// So many bytes as the next one tells.
    pub(super) fn some(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some
    }
}

/// Where bytes are cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cuts {
    Nowhere,
    Everywhere,
    /// At places that follow from the number.
    Somewhere(u64),
}

impl Cuts {
    pub(super) fn pieces<'a>(&mut self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(self.length(rest.len()));
            pieces.push(piece);
            rest = others;
        }
        pieces
    }

    fn length(&mut self, all: usize) -> usize {
        match self {
            Self::Nowhere => all,
            Self::Everywhere => 1,
            Self::Somewhere(seed) => {
                // Knuth's MMIX generator; its upper bits are the good ones.
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                all.min(1 + (*seed >> 33) as usize % 40)
            }
        }
    }
}

/// Bytes that are shown as text.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Vec<u8>);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
