//! Problems with holds in sentences for people.

use jiff::Timestamp;

use crate::holds::Source;
use crate::holds::ledger::{HoldSource, Trouble};

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Note,
    Warning,
    /// Somebody has to act.
    Alarm,
}

/// What a note is about. Notes with equal topic and sources are the same note, even if their texts differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Sources have not answered yet.
    Unheard,
    /// The same, for so long that somebody should look.
    LongUnheard,
    /// The same, and a due stop no longer waits for them.
    GivenUp,
    /// Sources have stopped answering.
    Silent,
    /// A hold will end before the time that its source gives.
    Capped,
    /// A hold has ended before the time that its source gives.
    Overdue,
}

/// A note about one or more sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub topic: Topic,
    pub sources: Vec<Source>,
    /// One or two sentences.
    pub text: String,
}

impl Note {
    /// How much the note matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.topic {
            Topic::Capped | Topic::Overdue => Severity::Note,
            Topic::Unheard | Topic::Silent => Severity::Warning,
            Topic::LongUnheard | Topic::GivenUp => Severity::Alarm,
        }
    }

    /// Whether `other` is the same note, perhaps with another text.
    #[must_use]
    pub fn repeats(&self, other: &Note) -> bool {
        (self.topic, &self.sources) == (other.topic, &other.sources)
    }
}

/// The notes about `troubles`. Sources with the same trouble share one.
#[must_use]
pub fn notes(troubles: &[(HoldSource, Trouble)]) -> Vec<Note> {
    let mut shared: Vec<(&Trouble, Vec<&HoldSource>)> = Vec::new();
    for (question, trouble) in troubles {
        match shared.iter_mut().find(|(same, _)| *same == trouble) {
            Some((_, questions)) => questions.push(question),
            None => shared.push((trouble, vec![question])),
        }
    }
    shared.into_iter().map(|(trouble, questions)| note(trouble, &questions)).collect()
}

fn note(trouble: &Trouble, questions: &[&HoldSource]) -> Note {
    let subject = questions.iter().map(|question| name(question)).collect::<Vec<_>>().join(" and ");
    let unchecked = |why: Option<&String>, then: &str| {
        format!("Cannot check {subject}: {}. {then}", why.map_or("no answer yet", String::as_str))
    };
    let (topic, text) = match trouble {
        Trouble::Unheard { lasting, why } => (
            if *lasting { Topic::LongUnheard } else { Topic::Unheard },
            unchecked(why.as_ref(), "A due stop waits up to 30 minutes for the answer."),
        ),
        Trouble::GivenUp { why } => (
            Topic::GivenUp,
            unchecked(why.as_ref(), "A due stop no longer waits for the answer, so a hold may be missed."),
        ),
        Trouble::Silent { why } => (
            Topic::Silent,
            unchecked(Some(why), "What was last known stays in force, for at most 7 days after it was first known."),
        ),
        Trouble::Capped { until } => (
            Topic::Capped,
            format!("The SSM parameter asks for a hold until {}; it will end after 7 days, the limit.", day(*until)),
        ),
        Trouble::Overdue { until } => (
            Topic::Overdue,
            format!("The SSM parameter asks for a hold until {}; it ended after 7 days, the limit.", day(*until)),
        ),
    };
    Note { topic, sources: questions.iter().map(|question| question.source()).collect(), text }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn name(question: &HoldSource) -> String {
    match question {
        HoldSource::File => "the mc-idle hold file".to_owned(),
        HoldSource::Locks => "inhibitor locks".to_owned(),
        HoldSource::Sessions => "SSH sessions".to_owned(),
        HoldSource::Parameter(name) => format!("SSM parameter {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_with_one_trouble_share_a_note_and_other_words_are_no_news() {
        let unheard = |why: &str| Trouble::Unheard { lasting: false, why: Some(why.to_owned()) };
        let both = |why| notes(&[(HoldSource::Locks, unheard(why)), (HoldSource::Sessions, unheard(why))]);
        let [note] = &both("D-Bus is down")[..] else { panic!("one for both") };
        assert_eq!(
            note.text,
            "Cannot check inhibitor locks and SSH sessions: D-Bus is down. A due stop waits up to 30 minutes for the \
             answer."
        );
        assert!(note.repeats(&both("no answer")[0]));
        let apart =
            notes(&[(HoldSource::Locks, unheard("a")), (HoldSource::Parameter("/hold".to_owned()), unheard("b"))]);
        assert_eq!(apart.len(), 2);
        assert!(!note.repeats(&apart[0]));
        let lasting = notes(&[(HoldSource::Locks, Trouble::Unheard { lasting: true, why: None })]);
        assert_eq!((note.severity(), lasting[0].severity()), (Severity::Warning, Severity::Alarm));
    }
}
