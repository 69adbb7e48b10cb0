//! JSON values with exact numbers, and the many texts of each.

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::{collection, prelude::*};

/// A value; equal models are equal values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Model {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

/// `digits * 10^power`, where the digits do not end in a zero, and zero has the power 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decimal {
    digits: i128,
    power: i32,
}

impl Decimal {
    fn new(mut digits: i128, mut power: i32) -> Self {
        if digits == 0 {
            return Self { digits, power: 0 };
        }
        while digits % 10 == 0 {
            digits /= 10;
            power += 1;
        }
        Self { digits, power }
    }
}

/// Names and strings from a small set of short ones, so that two are often equal or nearly so.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[ab\"\\\\]{0,2}",
        1 => "[a-c]{6,18}",
        1 => "[\u{0}-\u{1f}/\u{7f}é€😀\u{301}]{0,3}",
        1 => any::<String>(),
    ]
}

/// A value that holds no other.
pub(crate) fn leaf() -> impl Strategy<Value = Model> {
    let number = prop_oneof![
        3 => (-20..=20_i128, -2..=2_i32),
        1 => (9_007_199_254_740_990..9_007_199_254_740_996_i128, Just(0)),
        1 => (any::<i64>().prop_map(i128::from), -400..=400_i32),
    ];
    prop_oneof![
        1 => Just(Model::Null),
        1 => any::<bool>().prop_map(Model::Bool),
        4 => number.prop_map(|(digits, power)| Model::Number(Decimal::new(digits, power))),
        3 => text().prop_map(Model::Text),
    ]
}

/// Any value.
pub(crate) fn model() -> impl Strategy<Value = Model> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Model::Array),
            collection::btree_map(text(), inner, 0..5).prop_map(Model::Object),
        ]
    })
}

impl Model {
    /// This value with `null` for every number.
    pub(crate) fn without_numbers(&self) -> Self {
        match self {
            Self::Number(_) => Self::Null,
            Self::Array(items) => Self::Array(items.iter().map(Self::without_numbers).collect()),
            Self::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), value.without_numbers()))
                    .collect(),
            ),
            Self::Null | Self::Bool(_) | Self::Text(_) => self.clone(),
        }
    }

    /// A JSON text of this value. The seed decides where JSON leaves a choice.
    pub(crate) fn spelled(&self, seed: u64) -> String {
        let mut speller = Speller {
            text: String::new(),
            choices: seed | 1,
        };
        speller.value(self);
        speller.text
    }
}

struct Speller {
    text: String,
    choices: u64,
}

impl Speller {
    /// A number below `among`, by the xorshift generator.
    fn choose(&mut self, among: usize) -> usize {
        self.choices ^= self.choices << 13;
        self.choices ^= self.choices >> 7;
        self.choices ^= self.choices << 17;
        let among = u64::try_from(among).expect("a small number");
        usize::try_from(self.choices % among).expect("a small number")
    }

    fn value(&mut self, model: &Model) {
        self.space();
        match model {
            Model::Null => self.text.push_str("null"),
            Model::Bool(truth) => self.text.push_str(if *truth { "true" } else { "false" }),
            Model::Number(number) => self.number(*number),
            Model::Text(text) => self.string(text),
            Model::Array(items) => {
                self.text.push('[');
                self.space();
                for (index, item) in items.iter().enumerate() {
                    self.text.push_str(if index == 0 { "" } else { "," });
                    self.value(item);
                }
                self.text.push(']');
            }
            Model::Object(members) => {
                self.text.push('{');
                self.space();
                let mut members: Vec<_> = members.iter().collect();
                let mut separator = "";
                while !members.is_empty() {
                    let (name, value) = members.swap_remove(self.choose(members.len()));
                    self.text.push_str(separator);
                    separator = ",";
                    self.space();
                    self.string(name);
                    self.space();
                    self.text.push(':');
                    self.value(value);
                }
                self.text.push('}');
            }
        }
        self.space();
    }

    fn space(&mut self) {
        while self.choose(3) == 0 {
            let space = [' ', '\n', '\t', '\r'][self.choose(4)];
            self.text.push(space);
        }
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for character in string.chars() {
            let must = character < ' ' || matches!(character, '"' | '\\');
            let short = match character {
                '"' | '\\' | '/' => Some(character),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            match (self.choose(4), short) {
                (1.., _) if !must => self.text.push(character),
                (1..=2, Some(short)) => self.text.extend(['\\', short]),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let digits = match self.choose(2) {
                            0 => format!("{unit:04x}"),
                            _ => format!("{unit:04X}"),
                        };
                        self.text.push_str("\\u");
                        self.text.push_str(&digits);
                    }
                }
            }
        }
        self.text.push('"');
    }

    fn number(&mut self, number: Decimal) {
        if number.digits < 0 || number.digits == 0 && self.choose(2) == 0 {
            self.text.push('-');
        }
        let mut digits = number.digits.unsigned_abs().to_string();
        let zeros = self.choose(4);
        digits.push_str(&"0".repeat(zeros));
        let behind = self.choose(digits.len() + 3);
        let digits = format!("{digits:0>behind$}");
        let (whole, fraction) = digits.split_at(digits.len() - behind);
        let whole = whole.trim_start_matches('0');
        self.text
            .push_str(if whole.is_empty() { "0" } else { whole });
        if !fraction.is_empty() {
            self.text.push('.');
            self.text.push_str(fraction);
        }
        let count = |count| i32::try_from(count).expect("a small number");
        let power = match number.digits {
            0 => count(self.choose(1000)) - 500,
            _ => number.power - count(zeros) + count(behind),
        };
        if power != 0 || self.choose(4) == 0 {
            let e = ['e', 'E'][self.choose(2)];
            self.text.push(e);
            let sign = match power {
                ..0 => "-",
                0 => ["", "+", "-"][self.choose(3)],
                1.. => ["", "+"][self.choose(2)],
            };
            let zeros = "0".repeat(self.choose(3));
            write!(self.text, "{sign}{zeros}{}", power.abs()).expect("a string takes all");
        }
    }
}
