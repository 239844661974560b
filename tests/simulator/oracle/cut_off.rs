//! The first promise: when a request arrives, nobody is connected or joining whom anything could show.

use std::fmt;

use mc_idle_rule::Edition;

use super::super::links::{Link, Who};
use super::super::script::{MINUTE, Ms, SECOND};
use super::super::sight::{Source, readable};
use super::super::site::{Kind, Manner};
use super::super::world::World;
use super::{Judgement, Promise};

/// From the last look until the request has arrived. Who comes in that time cannot be seen by anybody.
const LATENCY: Ms = 500;
/// A connection that was not accepted is no reason to wait for longer than this: the server hangs.
const BACKLOG: Ms = 30 * SECOND;
/// Who has tried to join for this long is given time to come again.
const SERIOUS: Ms = 35 * SECOND;
const AGAIN: Ms = 2 * MINUTE;
/// A connection that is younger is no ghost.
const GHOST: Ms = 10 * MINUTE;
/// A server counts a player so long after it has accepted him.
const LOGIN: Ms = 2 * SECOND;

/// What a request rests on. All times are the world's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// When the servers were asked in the preparation.
    pub(crate) asked: Option<Ms>,
    /// When the agent's own look began.
    pub(crate) own: Ms,
    /// Whether each network could be read by each source.
    pub(crate) readable: bool,
    /// When the second witness had answered.
    pub(crate) over: Ms,
    /// Whether the operator held the instance.
    pub(crate) held: bool,
    /// The shorter window, as it was set.
    pub(crate) window: Ms,
}

impl Look {
    /// The own half of it, now.
    pub(crate) fn begins(world: &World, asked: Option<Ms>) -> Self {
        let (own, readable) = (world.now(), all_readable(world, Source::Tables));
        let settings = world.settings();
        let window = settings.idle_window.min(settings.no_server_window);
        Look { asked, own, readable, over: own, held: world.held(), window }
    }

    /// The other half, now.
    pub(crate) fn ends(self, world: &World) -> Self {
        let readable = self.readable && all_readable(world, Source::Witness);
        Look { readable, over: world.now(), held: self.held || world.held(), ..self }
    }
}

fn all_readable(world: &World, source: Source) -> bool {
    let there = (0..world.site().networks()).filter(|network| world.has_network(*network));
    let seen = there.filter(|network| *network == 0 || world.site().sees_processes());
    seen.into_iter().all(|network| readable(world, source, network))
}

/// Somebody who was cut off, and nothing could show him.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Unseen {
    /// He came after the last look.
    SinceTheLook,
    /// He leaves no row, and came after the servers were asked.
    SinceTheQuestion,
    /// He leaves no row, and his server does not answer.
    NoRowNoAnswer,
    /// He leaves no row, and his server says that nobody is online.
    NoRowDenied,
    /// Of a Bedrock server that does not answer, or denies him.
    Bedrock,
    /// In a network that cannot be seen, whose server does not answer.
    Hidden,
    /// The server has not accepted him for more than 30 s.
    Backlog,
    /// Young connections have come and gone for longer than patience lasts, and his address was among theirs.
    Patience,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unseen::SinceTheLook => "came within the milliseconds from the last look to the request",
            Unseen::SinceTheQuestion => "leaves no row (tunnel, UDP), and came after the servers were last asked",
            Unseen::NoRowNoAnswer => "leaves no row (tunnel), and his server does not answer",
            Unseen::NoRowDenied => "leaves no row (tunnel), and his server says that nobody is online",
            Unseen::Bedrock => "over UDP, and his server does not answer or denies him",
            Unseen::Hidden => "in a network that cannot be seen, and his server denies him",
            Unseen::Backlog => "not accepted by a frozen server for more than 30 s",
            Unseen::Patience => {
                "joining at an address from which short connections had come for longer than patience lasts"
            }
        })
    }
}

/// Judges a request that arrives now. `watches_since` is the machine's time, `due_since` the world's: since when a stop may
/// have been due.
pub(crate) fn judge(world: &mut World, look: &Look, watches_since: Ms, due_since: Ms) -> Judgement {
    strangers(world, look, due_since)?;
    if !look.readable {
        return Err((Promise::Nobody, "requested while it was not known whether anybody is there"));
    }
    let late = world.now() - look.over > LATENCY;
    let people: Vec<Link> =
        world.links().iter().copied().filter(|link| link.alive() && link.client.who.person().is_some()).collect();
    let mut unseen = Vec::new();
    for link in people {
        match shows(world, look, &link, due_since) {
            Err(Unseen::SinceTheLook) if late => {
                return Err((Promise::Nobody, "the request came long after the look, and somebody had come meanwhile"));
            }
            Err(why) => unseen.push(why),
            Ok(text) => return Err((Promise::Nobody, text)),
        }
    }
    world.ledger().cut_off_unseen(&unseen);
    let tried = world.failed_join().filter(|(ended, lasted)| {
        let seen = world.when(watches_since) + *lasted + 2 * world.settings().interval <= *ended
            && world.settings().min_connection > *lasted;
        *lasted > SERIOUS + SECOND && seen && look.own.saturating_sub(*ended) + SECOND < AGAIN && *ended <= look.own
    });
    match tried {
        Some(_) if shows_rows(world, 0) && !patience_is_over(world, due_since) => {
            Err((Promise::Nobody, "somebody had tried to join less than two minutes ago"))
        }
        _ => Ok(()),
    }
}

/// A short connection may be somebody joining, whosever it is.
fn strangers(world: &World, look: &Look, due_since: Ms) -> Judgement {
    let holds = |link: &&Link| {
        let age = look.own.saturating_sub(link.since);
        link.client.who.person().is_none()
            && link.alive()
            && link.client.rows
            && shows_rows(world, link.client.door)
            && link.since <= look.own
            && (link.accepted.is_some() || age + SECOND < BACKLOG)
            && age < GHOST
            && !is_one_too_many(world, look, link, due_since)
    };
    match world.links().iter().find(holds) {
        Some(_) => {
            Err((Promise::Nobody, "requested though a connection was there that may have been somebody joining"))
        }
        None => Ok(()),
    }
}

/// Whether the rows of who comes by this door can be seen at all.
pub(super) fn shows_rows(world: &World, door: usize) -> bool {
    let door = &world.doors()[door];
    door.edition == Edition::Java && (door.network == 0 || world.site().sees_processes())
}

/// What showed this person, or why nothing could.
fn shows(world: &World, look: &Look, link: &Link, due_since: Ms) -> Result<&'static str, Unseen> {
    let door = &world.doors()[link.client.door];
    if link.since > look.own {
        return Err(if link.client.rows { Unseen::SinceTheLook } else { Unseen::SinceTheQuestion });
    }
    if counted_by_an_answer(world, look, link) {
        return Ok("somebody was cut off whom his server counted when it was asked");
    }
    if link.client.rows && shows_rows(world, link.client.door) {
        let waits = link.accepted.is_none() && look.own - link.since + SECOND >= BACKLOG;
        return match () {
            () if waits => Err(Unseen::Backlog),
            () if is_one_too_many(world, look, link, due_since) => Err(Unseen::Patience),
            () if link.accepted.is_none() => {
                Ok("somebody was cut off who was about to be accepted, and the tables showed him")
            }
            () => Ok("somebody was cut off whom the tables showed"),
        };
    }
    let since_asked = link.accepted.is_none_or(|at| look.asked.is_none_or(|asked| at + LOGIN > asked));
    Err(match world.site().kind {
        _ if since_asked && answers_truly(world, look, link.client.door) => Unseen::SinceTheQuestion,
        Kind::Bedrock | Kind::Geyser => Unseen::Bedrock,
        Kind::Hidden => Unseen::Hidden,
        _ if door.manner == Manner::Zero => Unseen::NoRowDenied,
        _ => Unseen::NoRowNoAnswer,
    })
}

/// Whether a server that this connection ends at or goes on to counted him when it was asked in the preparation.
fn counted_by_an_answer(world: &World, look: &Look, link: &Link) -> bool {
    let counted_since = link.accepted.map(|at| at + LOGIN);
    let counted = counted_since.is_some_and(|at| look.asked.is_some_and(|asked| at <= asked));
    let mut doors = (0..world.doors().len()).filter(|door| world.reaches(link, world.doors()[*door].process));
    matches!(link.client.who, Who::Person(_)) && counted && doors.any(|door| answers_truly(world, look, door))
}

/// Whether the server behind this door has told the truth since before it was last asked.
fn answers_truly(world: &World, look: &Look, door: usize) -> bool {
    let Some(asked) = look.asked else { return false };
    let door_is = &world.doors()[door];
    let stood = world.troubles().muted_until() <= asked
        && world.is_open(door_is.process)
        && world.state_since(door_is.process) + 40 * SECOND <= asked;
    let asks = door_is.listener().network.is_host() || world.site().sees_processes() || door_is.published.is_some();
    matches!(door_is.manner, Manner::Honest | Manner::MadeUp) && stood && asks && world.answer_at(door).is_some()
}

/// A young connection that patience does not wait for any more.
fn is_one_too_many(world: &World, look: &Look, link: &Link, due_since: Ms) -> bool {
    let young = look.own - link.since < SERIOUS + 2 * world.settings().interval;
    let may_deny = !matches!(world.doors()[link.client.door].manner, Manner::Off | Manner::MadeUp);
    young && may_deny && world.settings().ask.is_some() && patience_is_over(world, due_since)
}

/// A due stop may have waited for short connections for as long as it has patience.
fn patience_is_over(world: &World, due_since: Ms) -> bool {
    world.now().saturating_sub(due_since) >= world.settings().joining_patience
}
