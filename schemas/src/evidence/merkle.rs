//! Merkle trees as in RFC 6962 (and RFC 9162): hashes, the growing edge of a tree, and proofs.
//!
//! A leaf's hash is SHA-256(0x00 ‖ data), a node's SHA-256(0x01 ‖ left ‖ right); the empty tree's root is SHA-256 of
//! nothing. In a tenant's log the data of leaf `i` are the 32 bytes of its event's digest.

use sha2::{Digest as _, Sha256};

use super::Hash;

/// The hash of a leaf.
pub fn leaf(data: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
}

/// The hash of a node.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0; 65];
    bytes[0] = 1;
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(bytes).into())
}

/// The root over neighbouring subtrees, given from left to right, each smaller than the one before it.
fn fold(roots: &[Hash]) -> Hash {
    let mut roots = roots.iter().rev();
    match roots.next() {
        Some(last) => roots.fold(*last, |right, left| node(left, &right)),
        None => Hash(Sha256::digest([]).into()),
    }
}

/// The growing edge of a tree: all that is needed to add leaves and to tell the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the complete subtrees, from left to right: one for each bit of the size.
    roots: Vec<Hash>,
}

impl Frontier {
    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_and_tell(leaf, |_, _| {});
    }

    /// Adds a leaf, and tells the height and root of each complete subtree of two leaves and more that it is the last of.
    pub fn push_and_tell(&mut self, leaf: Hash, mut completed: impl FnMut(u32, Hash)) {
        let mut hash = leaf;
        for height in 1..=self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node(&left, &hash);
                completed(height, hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root.
    pub fn root(&self) -> Hash {
        fold(&self.roots)
    }

    /// Its bytes, for storage: the roots, one after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.iter().flat_map(|root| root.0).collect()
    }

    /// What was stored; `None` when the bytes are not those of a tree of that size.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let roots: Vec<Hash> = bytes.chunks(32).map(|root| root.try_into().map(Hash)).collect::<Result<_, _>>().ok()?;
        (roots.len() == usize::try_from(size.count_ones()).ok()?).then_some(Self { size, roots })
    }
}

/// A complete subtree: the leaves from `index` · 2^`height`, 2^`height` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// 0 for a leaf.
    pub height: u32,
    /// Its place among those of its height.
    pub index: u64,
}

/// Neighbouring leaves whose root stands in a proof; it is made of complete subtrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: u64,
    to: u64,
}

impl Range {
    /// The whole tree of a size.
    pub fn whole(size: u64) -> Self {
        Self { from: 0, to: size }
    }

    /// The complete subtrees that it is made of, from left to right.
    pub fn subtrees(self) -> Vec<Subtree> {
        let mut found = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let height = (self.to - from).ilog2().min(from.trailing_zeros());
            found.push(Subtree { height, index: from >> height });
            from += 1 << height;
        }
        found
    }

    /// Its root, from those of its subtrees.
    pub fn root(self, roots: &[Hash]) -> Hash {
        fold(roots)
    }
}

/// The largest power of two below a count of at least two.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The ranges whose roots prove that a leaf is in the tree of a size (RFC 9162, 2.1.3.1); none when it is not.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range>> {
    fn path(index: u64, from: u64, to: u64, found: &mut Vec<Range>) {
        if to - from < 2 {
            return;
        }
        let middle = from + split(to - from);
        if index < middle {
            path(index, from, middle, found);
            found.push(Range { from: middle, to });
        } else {
            path(index, middle, to, found);
            found.push(Range { from, to: middle });
        }
    }
    let mut found = Vec::new();
    (index < size).then(|| path(index, 0, size, &mut found))?;
    Some(found)
}

/// The ranges whose roots prove that the tree of size `new` begins with that of size `old` (RFC 9162, 2.1.4.1); none when
/// it is smaller.
pub fn consistency(old: u64, new: u64) -> Option<Vec<Range>> {
    fn path(old: u64, from: u64, to: u64, known: bool, found: &mut Vec<Range>) {
        if old == to {
            if !known {
                found.push(Range { from, to });
            }
            return;
        }
        let middle = from + split(to - from);
        if old <= middle {
            path(old, from, middle, known, found);
            found.push(Range { from: middle, to });
        } else {
            path(old, middle, to, false, found);
            found.push(Range { from, to: middle });
        }
    }
    let mut found = Vec::new();
    match old {
        _ if old > new => return None,
        // Every tree begins with the empty one.
        0 => {}
        _ => path(old, 0, new, true, &mut found),
    }
    Some(found)
}

/// Whether a proof shows that `leaf` (its hash) is at `index` in the tree of that size and root (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(step, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, step);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that the tree of size `new.0` and root `new.1` begins with the tree `old` (RFC 9162, 2.1.4.2).
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size >= new_size {
        return proof.is_empty() && old_size <= new_size && (old_size == 0 || old_root == new_root);
    }
    let (mut place, mut last) = (old_size - 1, new_size - 1);
    let known = place.trailing_ones();
    (place, last) = (place >> known, last >> known);
    let mut steps = proof.iter();
    // The old tree is a complete subtree of the new one: its root is where the proof begins.
    let first = if old_size.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old_hash = node(step, &old_hash);
            new_hash = node(step, &new_hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node(&new_hash, step);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests;
