//! The words in which the rows of the table are written.

use super::{Allowed, Difference, Dynamic, Effect, Importance, Setting, Synonym, Type};

const fn row(name: &'static str, kind: Type, default: Option<&'static str>) -> Setting {
    Setting {
        name,
        kind,
        default,
        allowed: Allowed::Any,
        importance: Importance::Medium,
        dynamic: Dynamic::ReadOnly,
        effect: Effect::Acts,
        doc: "",
        differs: None,
        internal: false,
        broker_synonyms: &[],
    }
}

macro_rules! kinds {
    ($($word:ident $without:ident $kind:ident;)*) => {$(
        #[allow(dead_code)]
        pub(super) const fn $word(name: &'static str, default: &'static str) -> Setting {
            row(name, Type::$kind, Some(default))
        }
        #[allow(dead_code)]
        pub(super) const fn $without(name: &'static str) -> Setting {
            row(name, Type::$kind, None)
        }
    )*};
}

// A row with a default, and one without.
kinds! {
    boolean boolean_ Boolean;
    string string_ String;
    int int_ Int;
    short short_ Short;
    long long_ Long;
    double double_ Double;
    list list_ List;
    class class_ Class;
}

#[allow(dead_code)]
pub(super) const fn password(name: &'static str) -> Setting {
    row(name, Type::Password, None)
}

impl Setting {
    pub(super) const fn min(mut self, least: i64) -> Setting {
        self.allowed = Allowed::AtLeast(least);
        self
    }

    pub(super) const fn allow(mut self, allowed: Allowed) -> Setting {
        self.allowed = allowed;
        self
    }

    pub(super) const fn range(self, least: i64, most: i64) -> Setting {
        self.allow(Allowed::Between(least, most))
    }

    pub(super) const fn high(mut self) -> Setting {
        self.importance = Importance::High;
        self
    }

    pub(super) const fn low(mut self) -> Setting {
        self.importance = Importance::Low;
        self
    }

    pub(super) const fn per_broker(mut self) -> Setting {
        self.dynamic = Dynamic::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Setting {
        self.dynamic = Dynamic::ClusterWide;
        self
    }

    pub(super) const fn from(mut self, broker: &'static [Synonym]) -> Setting {
        self.dynamic = Dynamic::Topic;
        self.broker_synonyms = broker;
        self
    }

    pub(super) const fn later(mut self) -> Setting {
        self.effect = Effect::Later;
        self
    }

    pub(super) const fn ignored(mut self, why: &'static str) -> Setting {
        self.effect = Effect::Ignored(why);
        self
    }

    pub(super) const fn refused(mut self, why: &'static str) -> Setting {
        self.effect = Effect::Refused(why);
        self
    }

    pub(super) const fn kafka_has(mut self, kafka: &'static str, why: &'static str) -> Setting {
        self.differs = Some(Difference { kafka, why });
        self
    }

    pub(super) const fn internal(mut self) -> Setting {
        self.internal = true;
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Setting {
        self.doc = doc;
        self
    }
}

/// A synonym in the same unit.
pub(super) const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

/// A synonym in another unit.
pub(super) const fn times(name: &'static str, factor: i64) -> Synonym {
    Synonym { name, factor }
}
