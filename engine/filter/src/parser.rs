//! Tokens to a program (the grammar and the checks of RocketMQ 4.9 `SelectorParser.jj`,
//! `ComparisonExpression` and `ConstantExpression`).
//!
//! It descends as deep as the expression is nested, which is bounded, and writes steps as it goes: operands
//! first, then what joins them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::CompileError;
use crate::lexer::{Token, TokenKind, tokens};
use crate::program::{Comparison, Expression, Literal, Step};
use crate::value::compare;
use crate::{DEPTH_MAX, EXPRESSION_BYTES_MAX, IN_ITEMS_MAX, STEPS_MAX};

/// Reads a whole text.
pub(crate) fn parse(text: &str) -> Result<Expression, CompileError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let what = format!("more than {EXPRESSION_BYTES_MAX} bytes");
        return Err(CompileError::at(text, 0, what));
    }
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
        names: BTreeMap::new(),
        steps: Vec::new(),
        item_nums: 0,
    };
    let whole = parser.or_expression()?;
    parser.condition(&whole)?;
    if *parser.peek() != TokenKind::End {
        return Err(parser.unexpected("AND, OR or the end"));
    }
    Ok(parser.finish())
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
    /// Properties with the numbers that steps have for them until the end.
    names: BTreeMap<&'a str, usize>,
    steps: Vec<Step>,
    item_nums: usize,
}

/// What is known of a value whose steps are the last ones written.
struct Operand {
    kind: Kind,
    /// Where it begins in the text.
    at: usize,
}

enum Kind {
    Property,
    Literal(Literal),
    /// A comparison, or conditions joined.
    Condition,
    /// A sign before something.
    Negated,
}

impl<'a> Parser<'a> {
    fn or_expression(&mut self) -> Result<Operand, CompileError> {
        self.joined("OR", true, Step::Or, Self::and_expression)
    }

    fn and_expression(&mut self) -> Result<Operand, CompileError> {
        self.joined("AND", false, Step::And, Self::equality)
    }

    /// Conditions with `word` between them; one that is `decided` makes the rest needless.
    fn joined(
        &mut self,
        word: &'static str,
        decided: bool,
        step: Step,
        operand: fn(&mut Self) -> Result<Operand, CompileError>,
    ) -> Result<Operand, CompileError> {
        let mut left = operand(self)?;
        while self.takes_word(word) {
            self.condition(&left)?;
            let jump = self.write_jump(decided)?;
            let right = operand(self)?;
            self.condition(&right)?;
            self.write(step.clone())?;
            self.jump_here(jump);
            left.kind = Kind::Condition;
        }
        Ok(left)
    }

    fn equality(&mut self) -> Result<Operand, CompileError> {
        let mut left = self.comparison()?;
        loop {
            if self.takes_sign("=") {
                self.equal(&left)?;
            } else if self.takes_sign("<>") {
                self.equal(&left)?;
                self.write(Step::Not)?;
            } else if self.takes_word("IS") {
                let is_not = self.takes_word("NOT");
                if !self.takes_word("NULL") {
                    return Err(self.unexpected("NULL"));
                }
                self.write(Step::Literal(Literal::Null))?;
                self.write(Step::Equal)?;
                if is_not {
                    self.write(Step::Not)?;
                }
            } else {
                return Ok(left);
            }
            left.kind = Kind::Condition;
        }
    }

    fn equal(&mut self, left: &Operand) -> Result<(), CompileError> {
        let right = self.comparison()?;
        for operand in [left, &right] {
            if matches!(operand.kind, Kind::Literal(Literal::Null)) {
                return Err(self.error(operand.at, "NULL, which cannot be compared (IS NULL is)"));
            }
        }
        if let (Kind::Literal(Literal::Boolean(_)), Kind::Literal(other)) =
            (&left.kind, &right.kind)
            && !matches!(other, Literal::Boolean(_))
        {
            return Err(self.error(right.at, "a literal that TRUE or FALSE is compared with"));
        }
        self.write(Step::Equal)
    }

    fn comparison(&mut self) -> Result<Operand, CompileError> {
        const ORDERS: [(&str, Comparison); 4] = [
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
        ];
        let mut left = self.unary()?;
        loop {
            let order = ORDERS.iter().find(|(sign, _)| self.takes_sign(sign));
            if let Some((_, comparison)) = order {
                let right = self.unary()?;
                self.check_ordered(&left)?;
                self.check_ordered(&right)?;
                self.write(Step::Order(*comparison))?;
            } else if matches!(self.peek(), TokenKind::Word("NOT" | "BETWEEN" | "IN")) {
                let is_not = self.takes_word("NOT");
                if self.takes_word("BETWEEN") {
                    self.between(&left, is_not)?;
                } else if self.takes_word("IN") {
                    self.in_list(&left, is_not)?;
                } else {
                    return Err(self.unexpected("BETWEEN or IN"));
                }
            } else {
                return Ok(left);
            }
            left.kind = Kind::Condition;
        }
    }

    /// `value >= low AND value <= high`, or `value < low OR value > high`, with the value once on the stack.
    fn between(&mut self, value: &Operand, is_not: bool) -> Result<(), CompileError> {
        let (with_low, with_high) = match is_not {
            false => (Comparison::GreaterOrEqual, Comparison::LessOrEqual),
            true => (Comparison::Less, Comparison::Greater),
        };
        self.write(Step::Duplicate)?;
        let low = self.unary()?;
        self.write(Step::Order(with_low))?;
        let jump = self.write_jump(is_not)?;
        self.write(Step::Over)?;
        if !self.takes_word("AND") {
            return Err(self.unexpected("AND"));
        }
        let high = self.unary()?;
        self.write(Step::Order(with_high))?;
        self.write(if is_not { Step::Or } else { Step::And })?;
        self.jump_here(jump);
        self.write(Step::Nip)?;
        for operand in [value, &low, &high] {
            self.check_ordered(operand)?;
        }
        if let (Kind::Literal(low_is), Kind::Literal(high_is), false) =
            (&low.kind, &high.kind, is_not)
            && compare(high_is.value(), low_is.value()).is_ok_and(std::cmp::Ordering::is_lt)
        {
            return Err(self.error(low.at, "the lower bound, which is above the upper one"));
        }
        Ok(())
    }

    fn in_list(&mut self, value: &Operand, is_not: bool) -> Result<(), CompileError> {
        if !matches!(value.kind, Kind::Property) {
            return Err(self.error(value.at, "what is no property, before IN"));
        }
        if !self.takes_sign("(") {
            return Err(self.unexpected("("));
        }
        let mut items = BTreeSet::new();
        loop {
            let TokenKind::Text(item) = self.peek() else { return Err(self.unexpected("a text")) };
            items.insert(item.as_str().into());
            self.item_nums += 1;
            if self.item_nums > IN_ITEMS_MAX {
                let what = format!("one more text than {IN_ITEMS_MAX} in lists");
                return Err(self.error(self.at(), what));
            }
            self.next += 1;
            if self.takes_sign(")") {
                return self.write(Step::In { items, is_not });
            }
            if !self.takes_sign(",") {
                return Err(self.unexpected(", or )"));
            }
        }
    }

    fn unary(&mut self) -> Result<Operand, CompileError> {
        let at = self.at();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(at, format!("nested more than {DEPTH_MAX} deep")));
        }
        let operand = if self.takes_sign("+") {
            self.unary()?
        } else if self.takes_sign("-") {
            self.unary()?;
            self.write(Step::Negate)?;
            Operand { kind: Kind::Negated, at }
        } else if self.takes_word("NOT") {
            let operand = self.unary()?;
            self.condition(&operand)?;
            self.write(Step::Not)?;
            Operand { kind: Kind::Condition, at }
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(operand)
    }

    fn primary(&mut self) -> Result<Operand, CompileError> {
        let at = self.at();
        if self.takes_sign("(") {
            let inner = self.or_expression()?;
            return match self.takes_sign(")") {
                true => Ok(Operand { at, ..inner }),
                false => Err(self.unexpected(")")),
            };
        }
        if let TokenKind::Identifier(name) = *self.peek() {
            self.next += 1;
            let count = self.names.len();
            let name = *self.names.entry(name).or_insert(count);
            self.write(Step::Property(name))?;
            return Ok(Operand { kind: Kind::Property, at });
        }
        let literal = match self.peek() {
            TokenKind::Text(text) => Literal::Text(text.as_str().into()),
            TokenKind::Decimal(digits) => self.decimal(digits)?,
            TokenKind::Float(text) => self.float(text)?,
            TokenKind::Word("TRUE") => Literal::Boolean(true),
            TokenKind::Word("FALSE") => Literal::Boolean(false),
            TokenKind::Word("NULL") => Literal::Null,
            _ => return Err(self.unexpected("a property, a literal or (")),
        };
        self.next += 1;
        self.write(Step::Literal(literal.clone()))?;
        Ok(Operand { kind: Kind::Literal(literal), at })
    }

    fn decimal(&self, digits: &str) -> Result<Literal, CompileError> {
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(self.error(self.at(), "a whole number that begins with 0"));
        }
        let value: i64 = digits
            .parse()
            .map_err(|_| self.error(self.at(), format!("a whole number above {}", i64::MAX)))?;
        Ok(i32::try_from(value).map_or(Literal::Long(value), Literal::Int))
    }

    /// 4.9 has no 0.0: it refuses whatever is below the smallest number above 0.
    fn float(&self, text: &str) -> Result<Literal, CompileError> {
        let value: f64 = text.parse().map_err(|_| self.error(self.at(), "a broken number"))?;
        if value.is_infinite() {
            return Err(self.error(self.at(), format!("a number greater than {:e}", f64::MAX)));
        }
        if value == 0.0 {
            return Err(self.error(self.at(), "a number less than 4.9E-324 (write 0)"));
        }
        Ok(Literal::Double(value))
    }

    /// Makes a condition of the value written last, or refuses it.
    fn condition(&mut self, operand: &Operand) -> Result<(), CompileError> {
        match operand.kind {
            Kind::Condition | Kind::Literal(Literal::Null | Literal::Boolean(_)) => Ok(()),
            Kind::Property => self.write(Step::BooleanCast),
            _ => Err(self.error(operand.at, "what is no condition")),
        }
    }

    /// Refuses what `<` cannot compare: texts, booleans, conditions.
    fn check_ordered(&self, operand: &Operand) -> Result<(), CompileError> {
        match operand.kind {
            Kind::Property
            | Kind::Negated
            | Kind::Literal(Literal::Int(_) | Literal::Long(_) | Literal::Double(_)) => Ok(()),
            _ => Err(self.error(operand.at, "what is no number and cannot be ordered")),
        }
    }

    fn write(&mut self, step: Step) -> Result<(), CompileError> {
        if self.steps.len() >= STEPS_MAX {
            let what = format!("an expression of more than {STEPS_MAX} steps");
            return Err(self.error(self.at(), what));
        }
        self.steps.push(step);
        Ok(())
    }

    fn write_jump(&mut self, wanted: bool) -> Result<usize, CompileError> {
        self.write(Step::JumpIf(wanted, 0))?;
        Ok(self.steps.len() - 1)
    }

    /// Lets a jump lead to what is written next.
    fn jump_here(&mut self, jump: usize) {
        let here = self.steps.len();
        match &mut self.steps[jump] {
            Step::JumpIf(_, to) => *to = here,
            step => unreachable!("{step:?} is no jump"),
        }
    }

    /// Steps name properties by their order in the text until here, then by the order of their names.
    fn finish(self) -> Expression {
        let mut places = vec![0; self.names.len()];
        for (place, name) in self.names.values().enumerate() {
            places[*name] = place;
        }
        let mut steps = self.steps;
        for step in &mut steps {
            if let Step::Property(name) = step {
                *name = places[*name];
            }
        }
        let names = self.names.into_keys().map(Box::from).collect();
        Expression::new(names, steps, self.item_nums)
    }

    fn peek(&self) -> &TokenKind<'a> {
        &self.tokens[self.next].kind
    }

    /// Where the next token begins.
    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn takes_word(&mut self, word: &'static str) -> bool {
        let takes = *self.peek() == TokenKind::Word(word);
        self.next += usize::from(takes);
        takes
    }

    fn takes_sign(&mut self, sign: &'static str) -> bool {
        let takes = *self.peek() == TokenKind::Sign(sign);
        self.next += usize::from(takes);
        takes
    }

    fn unexpected(&self, wanted: &str) -> CompileError {
        self.error(self.at(), format!("{}, where {wanted} should be", self.peek().shown()))
    }

    fn error(&self, at: usize, what: impl Into<String>) -> CompileError {
        CompileError::at(self.text, at, what)
    }
}
