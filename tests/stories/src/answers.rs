//! A question and its answer, with the real claude.

use anyhow::Result;
use harness::{Claude, Content, World, project};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_in_a_thread_of_its_own() -> Result<()> {
    let world = World::start_real().await?;
    let question = world.say("what does this repo do? [[wait go]] [[say It adds numbers.]]")?;
    question.is_seen().await?;
    assert!(question.thread_name().await?.starts_with("what does this repo do?"));
    world.reached("go").await?;
    world.release("go")?;
    assert_eq!(question.answer().await?, "It adds numbers.");
    assert_eq!(question.mark().await?, "✅");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_continues_the_same_session() -> Result<()> {
    let world = World::start_real().await?;
    let question = world.say("my number is seven [[say noted]]")?;
    assert_eq!(question.answer().await?, "noted");
    let follow_up = question.follow_up("what was it? [[recall]]").await?;
    follow_up.is_seen().await?;
    let answer = follow_up.answer().await?;
    assert!(answer.contains("my number is seven"), "{answer}");
    assert_eq!(follow_up.mark().await?, "✅");
    let sessions: Vec<_> = world.anthropic().requests().into_iter().map(|it| it.session).collect();
    assert_eq!(sessions.first(), sessions.last());
    Ok(())
}

/// A run ends with its claude: what that has begun is done when it has answered.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_claude_answers_when_what_it_put_into_the_background_is_done() -> Result<()> {
    let world = World::builder().claude(Claude::Real).tools(&["Bash", "Task", "Agent"]);
    let world = world.start().await?;
    let done = world.folder().gates().join("done");
    let command = format!("sleep 3; touch {}", done.display());
    let bash = json!({"command": command, "description": "wait"});
    let agent = json!({
        "description": "look around",
        "prompt": format!("[[tool Bash {bash}]] [[say looked]]"),
        "subagent_type": "general-purpose",
        "run_in_background": true,
    });
    // A script in a script: its brackets are JSON's own.
    let agent = agent.to_string().replace('[', r"\u005b").replace(']', r"\u005d");
    let question = world.say(&format!("[[tool Task {agent}]] [[say all is done]]"))?;
    assert_eq!(question.answer().await?, "all is done");
    assert!(done.exists(), "nothing is left undone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_question_in_the_channel_is_another_session() -> Result<()> {
    let world = World::start_real().await?;
    world.say("my number is seven [[say noted]]")?.answer().await?;
    let other = world.say("what was it? [[recall]]")?;
    assert_eq!(other.answer().await?, "You said nothing before.");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_tool_works_in_the_project() -> Result<()> {
    let world = World::start_real().await?;
    let log = json!({"command": "git log --oneline", "description": "Look at the history"});
    let script = format!("[[tool Bash {log}]] [[say The history: {{result}}]]");
    let answer = world.say(&script)?.answer().await?;
    assert!(answer.contains("Add numbers"), "{answer}");
    assert!(!answer.contains("not allowed"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_not_allowed_is_refused_and_named() -> Result<()> {
    let builder = World::builder().claude(Claude::Real).project_toml("ask = false");
    let world = builder.start().await?;
    let touch = json!({"command": "touch made-by-claude", "description": "Make a file"});
    let question = world.say(&format!("[[tool Bash {touch}]] [[say I could not.]]"))?;
    let answer = question.answer().await?;
    assert!(answer.starts_with("I could not."), "{answer}");
    assert!(answer.contains("not allowed here: `Bash(touch made-by-claude)`"), "{answer}");
    assert!(!question.worktree().join("made-by-claude").exists());
    assert_eq!(question.mark().await?, "✅");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_allows_what_it_says() -> Result<()> {
    let world = World::builder().claude(Claude::Real).tools(&["Bash(touch:*)"]).start().await?;
    let touch = json!({"command": "touch made-by-claude", "description": "Make a file"});
    let question = world.say(&format!("[[tool Bash {touch}]] [[say It is there.]]"))?;
    assert_eq!(question.answer().await?, "It is there.");
    assert!(question.worktree().join("made-by-claude").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_api_is_told_with_its_reason() -> Result<()> {
    let world = World::start_real().await?;
    let question = world.say("[[error 400 the model is on holiday]]")?;
    let reason = question.failure().await?;
    assert!(reason.starts_with("⚠️"), "{reason}");
    assert!(reason.contains("400 the model is on holiday"), "{reason}");
    assert_eq!(question.mark().await?, "⚠️");
    let follow_up = question.follow_up("and now? [[say better]]").await?;
    assert_eq!(follow_up.answer().await?, "better");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_needs_no_git_repository() -> Result<()> {
    let world = World::builder().claude(Claude::Real).content(Content::Plain).start().await?;
    let readme = json!({"file_path": world.folder().project().join("README.md")});
    let script = format!("[[tool Read {readme}]] [[say It says: {{result}}]]");
    let answer = world.say(&script)?.answer().await?;
    assert!(answer.contains(project::README.lines().next().unwrap_or_default()), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_claude_itself_is_answered_too() -> Result<()> {
    let world = World::start_real().await?;
    let question = world.say("/cost")?;
    let answer = question.answer().await?;
    assert!(!answer.is_empty());
    assert_eq!(question.follow_up("[[say still here]]").await?.answer().await?, "still here");
    Ok(())
}
