use proptest::prelude::*;

use super::*;

/// The definition of RFC 6962, word by word.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [one] => *one,
        many => {
            let k = usize::try_from(split(many.len() as u64)).unwrap();
            node(&root(&many[..k]), &root(&many[k..]))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf(&i.to_be_bytes())).collect()
}

fn proof(leaves: &[Hash], ranges: &[Range]) -> Vec<Hash> {
    let at = |place: u64| usize::try_from(place).unwrap();
    let hash = |range: &Range| {
        let roots: Vec<_> = range
            .subtrees()
            .iter()
            .map(|tree| root(&leaves[at(tree.index << tree.height)..at((tree.index + 1) << tree.height)]))
            .collect();
        range.root(&roots)
    };
    ranges.iter().map(hash).collect()
}

#[test]
fn the_roots_are_those_of_certificate_transparency() {
    // The leaves and roots of the reference implementation's own tests.
    let data: [&[u8]; 8] = [
        &[],
        &[0],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let mut tree = Frontier::default();
    assert_eq!(tree.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    data.iter().for_each(|data| tree.push(leaf(data)));
    assert_eq!(tree.root().to_string(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn a_frontier_has_the_root_at_every_size_and_survives_storage() {
    let all = leaves(300);
    let mut tree = Frontier::default();
    for (i, hash) in all.iter().enumerate() {
        assert_eq!(tree.root(), root(&all[..i]));
        let stored = Frontier::from_bytes(tree.size(), &tree.to_bytes());
        assert_eq!(stored.as_ref(), Some(&tree));
        assert_eq!(Frontier::from_bytes(tree.size() * 2 + 1, &tree.to_bytes()), None);
        let mut completed = vec![];
        tree.push_and_tell(*hash, |height, root| completed.push((height, root)));
        let expected = (1..=(i + 1).trailing_zeros()).map(|height| (height, root(&all[i + 1 - (1 << height)..=i])));
        assert_eq!(completed, expected.collect::<Vec<_>>());
    }
}

#[test]
fn every_proof_between_any_two_sizes_holds() {
    const MOST: u64 = 70;
    let all = leaves(MOST);
    let roots: Vec<_> = (0..=all.len()).map(|size| root(&all[..size])).collect();
    for new in 0..=MOST {
        let new_root = &roots[usize::try_from(new).unwrap()];
        for old in 0..=new {
            let old_root = &roots[usize::try_from(old).unwrap()];
            let path = proof(&all, &consistency(old, new).unwrap());
            assert!(verify_consistency((old, old_root), (new, new_root), &path), "{old} of {new}");
        }
        for index in 0..new {
            let path = proof(&all, &inclusion(index, new).unwrap());
            let hash = all[usize::try_from(index).unwrap()];
            assert!(verify_inclusion(hash, index, new, &path, new_root), "{index} of {new}");
        }
        assert_eq!(inclusion(new, new), None);
        assert_eq!(consistency(new + 1, new), None);
    }
}

proptest! {
    #[test]
    fn no_proof_holds_for_anything_else(
        new in 2..200_u64, old in any::<prop::sample::Index>(), step in any::<prop::sample::Index>(), bit in 0..256_usize,
    ) {
        let all = leaves(new);
        let old = old.index(usize::try_from(new - 1).unwrap()) as u64 + 1;
        let (old_root, new_root) = (root(&all[..usize::try_from(old).unwrap()]), root(&all));
        let flip = |hash: Hash| { let mut hash = hash; hash.0[bit / 8] ^= 1 << (bit % 8); hash };
        let index = old - 1;
        let hash = all[usize::try_from(index).unwrap()];

        let path = proof(&all, &inclusion(index, new).unwrap());
        let mut wrong = path.clone();
        let step_at = step.index(wrong.len());
        wrong[step_at] = flip(wrong[step_at]);
        prop_assert!(!verify_inclusion(hash, index, new, &wrong, &new_root));
        prop_assert!(!verify_inclusion(flip(hash), index, new, &path, &new_root));
        prop_assert!(!verify_inclusion(hash, index ^ 1, new, &path, &new_root));
        prop_assert!(!verify_inclusion(hash, index, new, &path[1..], &new_root));

        let path = proof(&all, &consistency(old, new).unwrap());
        prop_assert!(!verify_consistency((old, &flip(old_root)), (new, &new_root), &path));
        prop_assert!(!verify_consistency((old, &old_root), (new, &flip(new_root)), &path));
        if !path.is_empty() {
            let mut wrong = path.clone();
            let step = step.index(wrong.len());
            wrong[step] = flip(wrong[step]);
            prop_assert!(!verify_consistency((old, &old_root), (new, &new_root), &wrong));
            prop_assert!(!verify_consistency((old, &old_root), (new, &new_root), &path[1..]));
        }
    }
}
