//! Runs that were under way concurrently.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

/// The keys of which a run began before another had ended, according to the services' notes.
pub(crate) fn at_one_time(noted: &Path) -> HashSet<String> {
    let noted = fs::read_to_string(noted).expect("what the services have noted");
    let mut under_way: HashMap<&str, usize> = HashMap::new();
    let mut several = HashSet::new();
    for line in noted.lines() {
        let (what, key) = line.split_once(' ').expect("a key");
        let runs = under_way.entry(key).or_default();
        match what {
            "begin" => *runs += 1,
            _ => *runs -= 1,
        }
        if *runs > 1 {
            several.insert(key.to_owned());
        }
    }
    several
}
