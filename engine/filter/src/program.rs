//! [`Expression`]: a compiled expression, steps for a machine with a stack.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use mq_protocol::message::PropertiesView;

use crate::error::{CompileError, EvaluateError};
use crate::parser;
use crate::value::{self, Value};

/// An expression, ready to be asked about messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// The properties that it names, in order, each once.
    names: Box<[Box<str>]>,
    steps: Box<[Step]>,
    /// Texts in lists.
    item_nums: usize,
}

/// One step. What it takes and leaves lies on top of the stack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Pushes the value of a property, by its place among the names.
    Property(usize),
    Literal(Literal),
    Negate,
    /// A property where a condition is wanted: as a text it is never true.
    BooleanCast,
    Not,
    Equal,
    Order(Comparison),
    In {
        items: BTreeSet<Box<str>>,
        is_not: bool,
    },
    And,
    Or,
    /// Goes on at a later step if the value, which stays, is this one: the rest is not asked.
    JumpIf(bool, usize),
    /// Pushes the value on top once more.
    Duplicate,
    /// Pushes the value below the one on top once more.
    Over,
    /// Takes the value below the one on top away.
    Nip,
}

/// What a comparison asks of the order of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

impl Literal {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Literal::Null => Value::Null,
            Literal::Boolean(value) => Value::Boolean(*value),
            Literal::Int(value) => Value::Int(*value),
            Literal::Long(value) => Value::Long(*value),
            Literal::Double(value) => Value::Double(*value),
            Literal::Text(value) => Value::Text(value),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
        }
    }
}

impl Expression {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is no expression, or one that is too long, too deep or too large.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        parser::parse(text)
    }

    /// An expression of these steps, which name properties by their places in `names`.
    pub(crate) fn new(names: Vec<Box<str>>, steps: Vec<Step>, item_nums: usize) -> Self {
        assert!(names.is_sorted_by(|one, next| one < next), "names are found by halving");
        Expression { names: names.into(), steps: steps.into(), item_nums }
    }

    /// How much it is, in steps and texts of lists: what it takes in memory and time grows with it.
    #[must_use]
    pub fn size(&self) -> usize {
        self.steps.len() + self.item_nums
    }

    /// The properties that it names, in order, each once.
    pub fn property_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether a message with these properties passes: it does if the answer is known and yes.
    #[must_use]
    pub fn matches(&self, properties: PropertiesView<'_>) -> bool {
        self.evaluate(properties) == Ok(Some(true))
    }

    /// The answer for a message with these properties; `None` if it is unknown.
    ///
    /// # Errors
    /// When a property cannot be compared with what is held against it.
    pub fn evaluate(&self, properties: PropertiesView<'_>) -> Result<Option<bool>, EvaluateError> {
        let values = self.values(properties);
        let mut stack = Stack::default();
        let mut next = 0;
        while let Some(step) = self.steps.get(next) {
            next += 1;
            match step {
                Step::JumpIf(wanted, to) => {
                    if stack.top() == Value::Boolean(*wanted) {
                        assert!(*to >= next, "jumps lead forwards");
                        next = *to;
                    }
                }
                Step::Property(name) => stack.push(values[*name].map_or(Value::Null, Value::Text)),
                step => stack.run(step)?,
            }
        }
        let answer = stack.pop();
        assert!(stack.0.is_empty(), "an expression leaves its answer");
        match answer {
            Value::Boolean(answer) => Ok(Some(answer)),
            _ => Ok(None),
        }
    }

    /// The values of the properties that are named, in one pass; of a repeated one the last counts.
    fn values<'a>(&self, properties: PropertiesView<'a>) -> Vec<Option<&'a str>> {
        let mut values = vec![None; self.names.len()];
        for (name, value) in properties.iter() {
            if let Ok(place) = self.names.binary_search_by(|known| (**known).cmp(name)) {
                values[place] = Some(value);
            }
        }
        values
    }
}

#[derive(Default)]
struct Stack<'a>(Vec<Value<'a>>);

impl<'a> Stack<'a> {
    fn push(&mut self, value: Value<'a>) {
        self.0.push(value);
    }

    fn pop(&mut self) -> Value<'a> {
        self.0.pop().expect("the parser counts what every step takes")
    }

    fn top(&self) -> Value<'a> {
        *self.0.last().expect("the parser counts what every step takes")
    }

    /// Runs a step that needs neither properties nor another next step.
    fn run(&mut self, step: &'a Step) -> Result<(), EvaluateError> {
        let value = match step {
            Step::Literal(literal) => literal.value(),
            Step::Duplicate => self.top(),
            Step::Over => {
                let top = self.pop();
                let below = self.top();
                self.push(top);
                below
            }
            Step::Nip => {
                let top = self.pop();
                self.pop();
                top
            }
            Step::Negate => value::negate(self.pop()),
            Step::BooleanCast => match self.pop() {
                Value::Null => Value::Null,
                value => Value::Boolean(value == Value::Boolean(true)),
            },
            Step::Not => match self.pop() {
                Value::Boolean(value) => Value::Boolean(!value),
                _ => Value::Null,
            },
            Step::In { items, is_not } => match self.pop() {
                Value::Text(text) => Value::Boolean(items.contains(text) != *is_not),
                _ => Value::Null,
            },
            Step::Equal | Step::Order(_) | Step::And | Step::Or => {
                let right = self.pop();
                let left = self.pop();
                join(step, left, right)?
            }
            Step::Property(_) | Step::JumpIf(..) => unreachable!("run by the expression"),
        };
        self.push(value);
        Ok(())
    }
}

fn join<'a>(step: &Step, left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, EvaluateError> {
    match step {
        Step::Equal => value::equal(left, right),
        Step::Order(comparison) => {
            let order = value::order(left, right)?;
            Ok(order.map_or(Value::Null, |order| Value::Boolean(comparison.holds(order))))
        }
        // Unknown, unless one side alone decides.
        step => {
            let decides = Value::Boolean(matches!(step, Step::Or));
            Ok(match (left, right) {
                (left, right) if left == decides || right == decides => decides,
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                (_, right) => right,
            })
        }
    }
}
