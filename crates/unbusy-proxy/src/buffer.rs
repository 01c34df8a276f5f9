//! Bytes that wait: they are put behind, and taken from the front.

/// When it is emptied, it keeps room for `KEPT` bytes.
#[derive(Default)]
pub(crate) struct Buffer<const KEPT: usize> {
    bytes: Vec<u8>,
    taken: usize,
}

impl<const KEPT: usize> Buffer<KEPT> {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many, or all.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count.min(self.len());
        // Not each time: what is moved is no more than what was taken before.
        if self.taken >= self.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        if self.is_empty() {
            self.bytes.shrink_to(KEPT);
        }
    }

    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let bytes = self.rest().to_vec();
        self.take(bytes.len());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_first_is_taken_first_and_takes_no_room_any_more() {
        let mut buffer = Buffer::<1024>::default();
        let (mut put, mut taken) = (0, 0);
        for round in 0..10_000_usize {
            let bytes: Vec<u8> = (put..put + 300).map(|at| at as u8).collect();
            buffer.put(&bytes);
            put += bytes.len();
            let count = (round * 7) % 600;
            let count = count.min(buffer.len());
            assert!(buffer.rest()[..count].iter().copied().eq((taken..taken + count).map(|at| at as u8)));
            buffer.take(count);
            taken += count;
            assert_eq!(buffer.len(), put - taken);
            assert!(buffer.bytes.len() <= 2 * buffer.len());
        }
        let rest = buffer.len();
        assert_eq!((buffer.take_all().len(), buffer.len()), (rest, 0));
        assert!(buffer.bytes.capacity() <= 1024);
    }
}
