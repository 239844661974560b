//! Which servers answer when they are asked, and what their silence means: what the agent has to take for unknown, and what it
//! may take for that. All times are the machine's.

use mc_idle_rule::facts::Proxy;
use mc_idle_rule::{Asked, Edition};

use super::super::script::{MINUTE, Ms, SECOND};
use super::super::sight::{Source, readable};
use super::super::site::{Door, Kind, Manner};
use super::super::world::World;

/// Listeners and networks are found within this time.
pub(super) const FOUND: Ms = 35 * SECOND;
/// A listener that has gone for this long has taken what it said along, and what was said of its silence.
const GONE: Ms = 2 * MINUTE + 20 * SECOND;
/// The silence of a server that has answered is unknown for half an hour, at most so much sooner or later.
const SILENCE: Ms = 30 * MINUTE;
const EITHER_WAY: Ms = 7 * MINUTE;

/// One way in.
#[derive(Debug, Clone, Copy, Default)]
struct Voice {
    /// Since when it has answered, without a break.
    answers_since: Option<Ms>,
    /// Since when it has not, without a break, while somebody listened.
    silent_since: Option<Ms>,
    /// Since when nobody listens; at a Bedrock port, since when that is seen.
    gone_since: Option<Ms>,
    /// Since when somebody is seen to listen again.
    back_since: Ms,
    /// Since when it would have said that somebody is online.
    somebody_since: Option<Ms>,
    /// It has answered since it began to listen.
    has_answered: bool,
    /// When it fell silent it had been heard for long enough, and had said that somebody is online.
    was_heard: bool,
    said_somebody: bool,
    /// Since when it takes an answer to know whose listener it is.
    untold_since: Option<Ms>,
}

#[derive(Debug, Default)]
pub(super) struct Voices {
    voices: Vec<Voice>,
    version: Option<u32>,
    now: Ms,
}

impl Voices {
    /// Another agent goes on from what was known.
    pub(super) fn goes_on(&mut self) {
        for voice in &mut self.voices {
            *voice = Voice { has_answered: voice.has_answered, ..Voice::default() };
        }
    }

    /// The agent has not asked for a while.
    pub(super) fn unheard(&mut self) {
        for voice in &mut self.voices {
            (voice.answers_since, voice.somebody_since) = (None, None);
        }
    }

    /// Takes in how each door would answer now; returns whether one has come or gone. The agent has seen everything since
    /// `watches_since`: what it does not see it does not ask.
    pub(super) fn listen(&mut self, world: &World, watches_since: Ms) -> bool {
        let (now, asked) = (world.moment(), time_to_be_asked(world));
        self.now = now;
        self.voices.resize(world.doors().len(), Voice::default());
        let version = Some(world.servers_version());
        let changed = std::mem::replace(&mut self.version, version) != version;
        for (number, (door, voice)) in world.doors().iter().zip(&mut self.voices).enumerate() {
            let up = world.is_up(door.process);
            let answer = world.answer_at(number).filter(|_| up && world.settings().ask.is_some());
            let heard = |since: Option<Ms>| since.is_some_and(|since| since.max(watches_since) + asked <= now);
            // Whoever has left since the last sample may have been taken back before it fell silent.
            let somebody = door.manner == Manner::MadeUp || world.online(door.process) > 0;
            let seen = readable(world, Source::Tables, door.network);
            // A listener that could not be seen is as good as a new one: its silence counts from when it is seen again.
            let is_back = voice.gone_since.is_some() || !seen;
            let untold_since = is_untold(world, door).then(|| voice.untold_since.unwrap_or(now));
            *voice = match (up, answer) {
                // A Bedrock port that is bound again before anybody can see it free has been bound all the time.
                (false, _) => match voice.gone_since.filter(|_| seen || door.edition == Edition::Java) {
                    Some(gone) if gone + GONE <= now => Voice { gone_since: Some(gone), ..Voice::default() },
                    gone => Voice {
                        answers_since: None,
                        somebody_since: None,
                        gone_since: gone.or(Some(now)),
                        was_heard: false,
                        ..*voice
                    },
                },
                (true, Some((online, _))) => Voice {
                    answers_since: voice.answers_since.or(Some(now)),
                    somebody_since: voice.somebody_since.or(Some(now)).filter(|_| online > 0),
                    has_answered: true,
                    ..Voice::default()
                },
                (true, None) => Voice {
                    answers_since: None,
                    somebody_since: None,
                    silent_since: voice.silent_since.or(Some(now)),
                    gone_since: None,
                    back_since: if is_back { now } else { voice.back_since },
                    has_answered: voice.has_answered,
                    was_heard: voice.was_heard || heard(voice.answers_since),
                    said_somebody: voice.said_somebody || (somebody && heard(voice.somebody_since)),
                    ..Voice::default()
                },
            };
            voice.untold_since = untold_since;
        }
        changed
    }

    /// The agent was told an answer. One of zero takes back what was said before, though the server is silent in the samples
    /// before and after it.
    pub(super) fn hear(&mut self, world: &World, asked: &Asked) {
        let nobody = asked.answer.as_ref().is_some_and(|answer| answer.online == 0);
        for (door, voice) in world.doors().iter().zip(&mut self.voices) {
            let of_it = door.listener() == asked.listener || door.outer() == Some(asked.listener);
            voice.said_somebody &= !(nobody && of_it);
        }
    }

    /// Whether a door has answered for so long, up to now.
    pub(super) fn has_answered_for(&self, door: usize, lasting: Ms) -> bool {
        self.voices[door].answers_since.is_some_and(|since| since + lasting <= self.now)
    }

    /// Whether a door has been asked since it answers, and was heard.
    pub(super) fn answers_steadily(&self, world: &World, door: usize) -> bool {
        world.doors()[door].manner != Manner::Slow && self.has_answered_for(door, time_to_be_asked(world))
    }

    /// Whether somebody is said to be there who is not.
    pub(super) fn make_up(&self, world: &World) -> bool {
        let said = |(door, voice): (&Door, &Voice)| door.manner == Manner::MadeUp && voice.answers_since.is_some();
        world.doors().iter().zip(&self.voices).any(said)
    }

    /// What the agent may take for unknown, where somebody left `left` ago whom a server may have counted.
    pub(super) fn may_be_unknown(&self, world: &World, left: Ms) -> bool {
        let recently = left < SILENCE + EITHER_WAY;
        world.doors().iter().enumerate().any(|(number, door)| {
            let (voice, steady) = (self.voices[number], self.answers_steadily(world, number));
            let silent_for = voice.silent_since.map(|since| self.now - since.max(voice.back_since));
            let bedrock = door.edition == Edition::Bedrock;
            let patience = if bedrock { world.settings().no_server_window.max(SILENCE) } else { SILENCE } + EITHER_WAY;
            let silent = (bedrock || voice.has_answered) && silent_for.is_some_and(|silent| silent < patience);
            // What was said of somebody stands until it is taken back; a server that comes and goes may not be asked for long.
            let stands = voice.has_answered && !steady && recently;
            let slow = door.manner == Manner::Slow && (bedrock || recently);
            let not_yet_asked = bedrock && silent_for.is_none() && world.is_up(door.process) && !steady;
            (is_untold(world, door) && !steady) || silent || stands || slow || not_yet_asked
        })
    }

    /// Why the agent has to take something for unknown; it last asked at `asked_last`.
    pub(super) fn is_unknown(&self, world: &World, asked_last: Option<Ms>) -> Option<&'static str> {
        let (asked, window) = (time_to_be_asked(world), world.settings().no_server_window);
        let silence = |(door, voice): (&Door, &Voice)| {
            // What fell silent after it was last asked, or came back since the last sample, cannot be known to have done so.
            let noticed = |since: &Ms| {
                let listens = world.is_up(door.process) && voice.gone_since.is_none();
                listens && asked_last.is_none_or(|asked| *since < asked)
            };
            let silent_for = self.now - voice.silent_since.filter(noticed)?;
            let bedrock = door.edition == Edition::Bedrock;
            match () {
                () if voice.was_heard && (bedrock || voice.said_somebody) && silent_for + EITHER_WAY < SILENCE => {
                    Some("requested while a server that had somebody online has fallen silent")
                }
                () if bedrock && !voice.has_answered && silent_for + FOUND + MINUTE < window => {
                    Some("requested while a Bedrock server may be starting")
                }
                () => None,
            }
        };
        let untold = |(door, voice): (&Door, &Voice)| {
            let silent_since = voice.silent_since.or(voice.gone_since)?;
            let untold = is_untold(world, door) && world.site().kind != Kind::BesideContainers;
            // A container that has only just been started may not have been there when the agent looked last.
            let found = voice.untold_since.is_some_and(|since| since + FOUND <= self.now);
            (untold && found && silent_since + asked <= self.now)
                .then_some("requested while a port may lead to a server that nobody sees")
        };
        let mut voices = world.doors().iter().zip(&self.voices);
        voices.find_map(|voice| silence(voice).or_else(|| untold(voice)))
    }
}

/// A listener is found and asked within this time.
fn time_to_be_asked(world: &World) -> Ms {
    world.settings().ask.unwrap_or(Ms::MAX / 4) + 15 * SECOND + FOUND
}

/// Whether it takes an answer to know whose listener it is, or whether there are others.
fn is_untold(world: &World, door: &Door) -> bool {
    match world.site().kind {
        Kind::Hidden => true,
        Kind::BesideContainers => world.is_up(door.process),
        _ => matches!(door.published, Some((_, Proxy::Conmon | Proxy::Dockerd))) && world.has_network(door.network),
    }
}
