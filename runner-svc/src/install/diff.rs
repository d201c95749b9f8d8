//! The lines by which two texts differ, as a person reads them.
//!
//! Both are files of a hundred lines, so the plain table of longest common parts is quick enough.

/// The lines that go (`-`) and come (`+`), in order; those that stay are not told.
pub(super) fn lines(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let common = common(&old, &new);
    let mut told = String::new();
    let (mut from, mut to) = (0, 0);
    while from < old.len() || to < new.len() {
        if from < old.len() && to < new.len() && old[from] == new[to] {
            (from, to) = (from + 1, to + 1);
        } else if to == new.len()
            || (from < old.len() && common[from][to + 1] <= common[from + 1][to])
        {
            told.extend(["  - ", old[from], "\n"]);
            from += 1;
        } else {
            told.extend(["  + ", new[to], "\n"]);
            to += 1;
        }
    }
    told
}

/// How many lines both have in common, behind each pair of places.
fn common(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut table = vec![vec![0; new.len() + 1]; old.len() + 1];
    for from in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            table[from][to] = if old[from] == new[to] {
                table[from + 1][to + 1] + 1
            } else {
                table[from + 1][to].max(table[from][to + 1])
            };
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        assert_eq!(lines("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(lines("a\nb\nc\n", "a\nx\nc\n"), "  - b\n  + x\n");
        assert_eq!(lines("", "a\nb\n"), "  + a\n  + b\n");
        assert_eq!(lines("a\nb\n", "b\n"), "  - a\n");
        assert_eq!(lines("a\n", "a\nb\n"), "  + b\n");
    }
}
