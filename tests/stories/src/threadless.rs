//! A channel in which the bot may not start threads: what claude asks there, and what it does, is shown in
//! the channel, where a restart of everything finds it again.

use anyhow::{Context as _, Result, anyhow};
use harness::discord_sim::{ApiError, ChannelId, FaultKind, FaultRule, Message, Permissions, View};
use harness::{Question, World};

use crate::asking::{asks_in, click, patient, says, touch};

/// Discord's flag of a message that notifies nobody.
const SILENT: u64 = 1 << 12;

/// A world whose bot may start no threads and shows what claude does, and a question in its channel.
async fn world() -> Result<World> {
    let world = patient().status().start().await?;
    let denied = world.discord().deny_bot(world.channel(), Permissions::CREATE_PUBLIC_THREADS);
    denied.map_err(|error| anyhow!("not denied: {error:?}"))?;
    Ok(world)
}

async fn both_are_killed(world: &World) -> Result<()> {
    world.kill_gateway().await?;
    world.kill_runner().await?;
    world.start_runner().await?;
    world.start_gateway().await
}

/// Every status message that the channel ever had, oldest first.
fn statuses(view: &View<'_>, channel: ChannelId) -> Vec<Message> {
    let all = view.guild.history(channel);
    all.filter(|it| it.is_bot && it.flags & SILENT != 0).cloned().collect()
}

/// Waits for the status message that says this.
async fn shows(world: &World, words: &str) -> Result<Message> {
    let channel = world.channel();
    world
        .sees(words, |view| {
            let mut all = statuses(view, channel).into_iter();
            all.find(|it| it.is_visible() && it.content.contains(words))
        })
        .await
}

/// The run has ended, its answer is in the channel once, as a reply, and no status is left of it.
async fn ends(world: &World, question: Question<'_>, answer: &str) -> Result<()> {
    assert_eq!(question.mark().await?, "✅");
    let channel = world.channel();
    world
        .sees("no status any more", |view| {
            statuses(view, channel).iter().all(|it| !it.is_visible()).then_some(())
        })
        .await?;
    let said = world.discord().messages(channel);
    let answers: Vec<_> =
        said.iter().filter(|it| it.is_bot && it.content.contains(answer)).collect();
    let [answer] = answers[..] else { return Err(anyhow!("{answers:?}")) };
    let to = answer.reference.and_then(|it| it.message);
    assert_eq!(to.context("it is no reply")?, question.message());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_stands_in_the_channel_and_is_decided_there() -> Result<()> {
    let world = world().await?;
    let question = world.say(&touch("made"))?;
    let allow = asks_in(&world, world.channel(), "Allow once").await?;
    let asked = world.discord().message(allow.message()).context("nothing is asked")?;
    let to = asked.reference.and_then(|it| it.message);
    assert_eq!(to, Some(question.message()), "whose question it is");
    let status = shows(&world, "Waiting for you").await?;
    both_are_killed(&world).await?;
    assert_eq!(click(&world, "bob", &allow).await?, "Allowed by bob.");
    says(&world, &allow, "Allowed by bob.").await?;
    ends(&world, question, "it says:").await?;
    assert!(question.worktree().join("made").exists());
    let all = world.discord().view(|view| statuses(view, world.channel()));
    assert_eq!(all.iter().map(|it| it.id).collect::<Vec<_>>(), [status.id]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_conversations_of_a_channel_ask_apart_and_each_is_decided_by_its_own_button()
-> Result<()> {
    let world = world().await?;
    let first = world.say(&touch("first"))?;
    let allow = asks_in(&world, world.channel(), "Allow once").await?;
    let second = world.say(&touch("second"))?;
    let deny = world
        .sees("the other", |view| {
            let mut all = view.guild.messages(world.channel());
            let is_its = |it: &&Message| {
                let to = it.reference.and_then(|to| to.message);
                to == Some(second.message()) && !it.components.is_empty()
            };
            all.find(is_its).map(|it| it.id)
        })
        .await?;
    both_are_killed(&world).await?;
    let button = world.discord().message(deny).context("no message")?.components[0].clone();
    let id = button["components"][2]["custom_id"].as_str().context("no button")?.to_owned();
    let denied = world.discord().press(deny, &id, world.discord().user("alice"));
    denied.map_err(|error| anyhow!("no press: {error:?}"))?;
    assert_eq!(second.mark().await?, "✅");
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    assert_eq!(first.mark().await?, "✅");
    assert!(first.worktree().join("first").exists());
    assert!(!second.worktree().join("second").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_where_history_may_not_be_read_keeps_its_buttons() -> Result<()> {
    let world = patient().start().await?;
    let channel = world.channel();
    let denied = world.discord().deny_bot(channel, Permissions::CREATE_PUBLIC_THREADS);
    denied.map_err(|error| anyhow!("not denied: {error:?}"))?;
    let question = world.say(&format!("[[think hm]] [[wait go]] {}", touch("made")))?;
    world.reached("go").await?;
    let is_told = |it: &Message| it.content.contains("can't start a thread");
    world
        .sees("that there is no thread", |view| {
            view.guild.messages(channel).find(|it| is_told(it)).map(drop)
        })
        .await?;
    // Discord takes no reply of whoever may not read what was written before.
    let refused = FaultKind::Refuse(ApiError::NoHistory);
    world.discord().fault(FaultRule::once("POST", "/channels/{id}/messages", refused));
    world.release("go")?;
    let allow = asks_in(&world, channel, "Allow once").await?;
    let asked = world.discord().message(allow.message()).context("nothing is asked")?;
    assert_eq!(asked.reference, None);
    both_are_killed(&world).await?;
    assert_eq!(click(&world, "alice", &allow).await?, "Allowed by alice.");
    says(&world, &allow, "Allowed by alice.").await?;
    ends(&world, question, "it says:").await
}
