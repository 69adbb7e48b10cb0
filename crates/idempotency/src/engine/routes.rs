//! The labels of routes: one text for all records of a route.

use std::collections::HashMap;

use parking_lot::RwLock;

use crate::labels::Labels;

/// Those that were made, by the template of the path, and then by the method.
#[derive(Default)]
pub(super) struct Routes(RwLock<HashMap<Box<str>, Methods>>);

/// Each with the labels of its route.
type Methods = Vec<(Box<str>, Labels)>;

/// How many paths are remembered.
const MAX_PATHS: usize = 1024;

/// The methods that are remembered. A handler for any method may meet any number of them, which are the client's and as long as it likes.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

impl Routes {
    pub(super) fn labels(&self, method: &str, path: &str) -> Labels {
        let make = || Labels::new(Some(&format!("{method} {path}")), None);
        if !METHODS.contains(&method) {
            return make();
        }
        let (known, is_full) = {
            let routes = self.0.read();
            let of_path = routes.get(path);
            let known = of_path.and_then(|known| known.iter().find(|(of, _)| **of == *method));
            let is_full = of_path.is_none() && routes.len() >= MAX_PATHS;
            (known.map(|(_, labels)| labels.clone()), is_full)
        };
        known.unwrap_or_else(|| {
            let labels = make();
            if !is_full {
                self.remember(method, path, labels.clone());
            }
            labels
        })
    }

    fn remember(&self, method: &str, path: &str, labels: Labels) {
        let mut routes = self.0.write();
        if routes.len() < MAX_PATHS || routes.contains_key(path) {
            let known = routes.entry(path.into()).or_default();
            if known.iter().all(|(of, _)| **of != *method) {
                known.push((method.into(), labels));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, MAX_PATHS, METHODS, Routes};

    #[test]
    fn records_of_a_route_have_one_text() {
        let routes = Routes::default();
        let labels = [(); 2].map(|()| routes.labels("POST", "/bookings/{id}"));
        let [first, second] = labels.each_ref().map(Labels::route);
        assert_eq!(first, Some("POST /bookings/{id}"));
        assert!(
            first
                .zip(second)
                .is_some_and(|(first, second)| std::ptr::eq(first, second))
        );
        assert_eq!(
            routes.labels("PUT", "/bookings/{id}").route(),
            Some("PUT /bookings/{id}")
        );
    }

    #[test]
    fn methods_that_clients_make_up_fill_no_memory() {
        let routes = Routes::default();
        for number in 0..10 * MAX_PATHS {
            let made_up = format!("METHOD{number}");
            assert_eq!(
                routes.labels(&made_up, "/any").route(),
                Some(&*format!("{made_up} /any"))
            );
            routes.labels("POST", &format!("/{number}"));
        }
        assert!(!routes.0.read().contains_key("/any"));
        for method in METHODS {
            routes.labels(method, "/1");
        }
        let known = routes.0.read();
        assert_eq!(known.len(), MAX_PATHS);
        assert_eq!(known.get("/1").map(Vec::len), Some(METHODS.len()));
    }
}
