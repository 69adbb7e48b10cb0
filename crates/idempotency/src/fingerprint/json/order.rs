//! The sorting of members.
//!
//! Objects are written in the order of the text, and those with unsorted members are noted. The members are sorted
//! after the whole text is read, so each byte is moved once. Sorting each object at its end would move its content
//! again for each level around it, and a small body could cost as much as a hundred large ones.

use std::{cmp::Ordering, ops::Range};

#[derive(Default)]
pub(super) struct Order {
    /// The members so far of every object that has not ended.
    open: Vec<Member>,
    /// The unsorted objects, in the order of their ends.
    unsorted: Vec<Object>,
    /// Their members, sorted.
    sorted: Vec<Member>,
}

/// The place of a member in the form.
struct Member {
    name: Range<usize>,
    end: usize,
    /// Which of the unsorted objects within its object are within this member.
    inner: Range<usize>,
}

/// An object whose members are in the wrong order.
struct Object {
    place: Range<usize>,
    members: Range<usize>,
    /// The number of such objects within it; in the order of places they follow it.
    inner: usize,
}

/// An object that has not ended.
pub(super) struct Begun {
    start: usize,
    members: usize,
    unsorted: usize,
    /// The number of unsorted objects within its members so far.
    inner: usize,
    is_sorted: bool,
}

impl Order {
    /// Notes that an object starts at the end of the form.
    pub(super) fn begin(&self, form: &[u8]) -> Begun {
        Begun {
            start: form.len(),
            members: self.open.len(),
            unsorted: self.unsorted.len(),
            inner: 0,
            is_sorted: true,
        }
    }

    /// Notes that a member has been written to the end of the form. Returns `None` if it has the same name as the
    /// previous one.
    pub(super) fn member(
        &mut self,
        object: &mut Begun,
        name: Range<usize>,
        form: &[u8],
    ) -> Option<()> {
        if let Some(before) = self.open[object.members..].last() {
            match form[before.name.clone()].cmp(&form[name.clone()]) {
                Ordering::Less => {}
                Ordering::Equal => return None,
                Ordering::Greater => object.is_sorted = false,
            }
        }
        let inner = self.unsorted.len() - object.unsorted;
        self.open.push(Member {
            name,
            end: form.len(),
            inner: object.inner..inner,
        });
        object.inner = inner;
        Some(())
    }

    /// Notes that the object has been written to the end of the form. Returns `None` if two members have the same name.
    pub(super) fn end(&mut self, object: &Begun, form: &[u8]) -> Option<()> {
        if object.is_sorted {
            self.open.truncate(object.members);
            return Some(());
        }
        let members = &mut self.open[object.members..];
        members.sort_unstable_by(|a, b| form[a.name.clone()].cmp(&form[b.name.clone()]));
        let is_unique = members
            .windows(2)
            .all(|pair| form[pair[0].name.clone()] != form[pair[1].name.clone()]);
        let first = self.sorted.len();
        self.sorted.extend(self.open.drain(object.members..));
        self.unsorted.push(Object {
            place: object.start..form.len(),
            members: first..self.sorted.len(),
            inner: object.inner,
        });
        is_unique.then_some(())
    }

    /// The form with all members in order; `None` if they already are.
    pub(super) fn apply(&mut self, form: &[u8]) -> Option<Vec<u8>> {
        if self.unsorted.is_empty() {
            return None;
        }
        self.unsorted
            .sort_unstable_by_key(|object| object.place.start);
        let mut ordered = Vec::with_capacity(form.len());
        self.copy(form, 0..form.len(), &self.unsorted, &mut ordered);
        Some(ordered)
    }

    /// Forgets everything for another text, and returns how many bytes it still takes.
    pub(super) fn clear(&mut self) -> usize {
        self.open.clear();
        self.unsorted.clear();
        self.sorted.clear();
        let members = self.open.capacity() + self.sorted.capacity();
        members * size_of::<Member>() + self.unsorted.capacity() * size_of::<Object>()
    }

    /// Copies a part of the form that contains exactly these unsorted objects.
    fn copy(
        &self,
        form: &[u8],
        part: Range<usize>,
        mut unsorted: &[Object],
        ordered: &mut Vec<u8>,
    ) {
        let mut at = part.start;
        while let [object, rest @ ..] = unsorted {
            ordered.extend_from_slice(&form[at..object.place.start]);
            at = object.place.end;
            let (inner, rest) = rest.split_at(object.inner);
            unsorted = rest;
            let mut before = b'{';
            for member in &self.sorted[object.members.clone()] {
                ordered.push(before);
                let part = member.name.start..member.end;
                self.copy(form, part, &inner[member.inner.clone()], ordered);
                before = b',';
            }
            ordered.push(b'}');
        }
        ordered.extend_from_slice(&form[at..part.end]);
    }
}
