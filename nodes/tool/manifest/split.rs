//! Which speakers or files are the dev set: a function of their names and lengths alone.

/// A speaker or a file, all of whose utterances are on one side.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) seconds: f64,
}

/// Chooses about `share` of the seconds for the dev set; returns whether each group is in it.
///
/// Groups are asked in the order of a hash of their names, so neither the order of a file system nor
/// that of names decides. A group joins the dev set if that brings it nearer to its share. Neither
/// side stays empty where there are two groups.
pub(super) fn choose_dev(groups: &[Group], share: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&i| *blake3::hash(groups[i].name.as_bytes()).as_bytes());
    let total: f64 = order.iter().map(|&i| groups[i].seconds).sum();
    let wanted = share * total;
    let mut chosen = vec![false; groups.len()];
    let mut seconds = 0.0;
    for &i in &order {
        let joined = seconds + groups[i].seconds;
        if (joined - wanted).abs() < (seconds - wanted).abs() {
            chosen[i] = true;
            seconds = joined;
        }
    }
    let count = chosen.iter().filter(|chosen| **chosen).count();
    if groups.len() > 1 && (count == 0 || count == groups.len()) {
        let shortest = order
            .into_iter()
            .min_by(|&a, &b| groups[a].seconds.total_cmp(&groups[b].seconds));
        if let Some(i) = shortest {
            chosen[i] = count == 0;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(groups: &[(&str, f64)], share: f64) -> Vec<String> {
        let groups: Vec<Group> = groups
            .iter()
            .map(|&(name, seconds)| Group { name, seconds })
            .collect();
        let chosen = choose_dev(&groups, share);
        let dev = groups.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        dev.map(|(group, _)| group.name.to_owned()).collect()
    }

    #[test]
    fn about_the_share_whatever_the_order() {
        let names_of = |n: usize| -> Vec<String> { (0..n).map(|i| format!("s{i}")).collect() };
        let owned = names_of(200);
        let mut groups: Vec<(&str, f64)> = (0..200)
            .map(|i| (owned[i].as_str(), 100.0 + (i % 7) as f64))
            .collect();
        let mut dev = names(&groups, 0.1);
        assert_eq!(dev.len(), 20);
        groups.reverse();
        let mut again = names(&groups, 0.1);
        dev.sort();
        again.sort();
        assert_eq!(dev, again);
        // Hashes decide, not the order of names.
        assert!(dev.iter().any(|name| name.as_str() > "s5"));
        assert!(dev.iter().any(|name| name.as_str() < "s5"));
    }

    #[test]
    fn no_side_is_empty() {
        assert_eq!(names(&[("long", 9.0), ("short", 1.0)], 0.001), ["short"]);
        assert_eq!(names(&[("long", 9.0), ("short", 1.0)], 0.999), ["long"]);
        assert_eq!(names(&[("a", 1.0), ("b", 1.0)], 0.5).len(), 1);
        // A speaker who is longer than the share stays in train.
        let dev = names(&[("long", 100.0), ("a", 5.0), ("b", 5.0)], 0.05);
        assert_eq!(dev.len(), 1);
        assert!(!dev.contains(&"long".to_owned()));
    }
}
