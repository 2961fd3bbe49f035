//! [`Permission`]: what may be done with a topic or by a group (RocketMQ 4.9 `Permission`).

/// Whether to send (`PUB`), to consume (`SUB`), both, or neither (`DENY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    is_pub: bool,
    is_sub: bool,
}

impl Permission {
    /// Neither.
    pub const DENY: Permission = Permission { is_pub: false, is_sub: false };
    /// To send.
    pub const PUB: Permission = Permission { is_pub: true, is_sub: false };
    /// To consume.
    pub const SUB: Permission = Permission { is_pub: false, is_sub: true };
    /// Both.
    pub const PUB_SUB: Permission = Permission { is_pub: true, is_sub: true };

    /// What files write; `None` for any other text, which 4.9 takes for `DENY` without a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Permission> {
        match text.trim() {
            "PUB" => Some(Permission::PUB),
            "SUB" => Some(Permission::SUB),
            "PUB|SUB" | "SUB|PUB" => Some(Permission::PUB_SUB),
            "DENY" => Some(Permission::DENY),
            _ => None,
        }
    }

    /// Whether who has this may do all that `needed` names.
    #[must_use]
    pub fn allows(self, needed: Permission) -> bool {
        (self.is_pub || !needed.is_pub) && (self.is_sub || !needed.is_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_denied() {
        let texts = ["PUB", " SUB ", "PUB|SUB", "SUB|PUB", "DENY"];
        let granted = texts.map(|text| Permission::parse(text).expect("a permission"));
        let can = granted.map(|it| (it.allows(Permission::PUB), it.allows(Permission::SUB)));
        assert_eq!(can, [(true, false), (false, true), (true, true), (true, true), (false, false)]);
        for text in ["", "pub", "ANY", "PUB | SUB", "PUB|SUB|DENY"] {
            assert_eq!(Permission::parse(text), None, "{text}");
        }
    }
}
