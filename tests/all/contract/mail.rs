//! What a mailer must do.

use super::InFolder;
use crate::moto;
use crate::wire::{Answer, Wire};
use serde_json::Value;
use tasks::port::{Mail, Mailer, PortError};

fn mail(subject: &str) -> Mail {
    Mail {
        id: "shop-jdbc_load-0a1b-end".to_owned(),
        subject: subject.to_owned(),
        body: "outcome: FAILED\ncause: ümlaut & <more>\n".to_owned(),
    }
}

/// `sent` tells subjects and texts so far.
async fn keeps_the_contract(mailer: &impl Mailer, sent: impl Fn() -> Vec<(String, String)>) {
    assert!(mailer.confirmed().await.is_ok());
    let good = mail("Headwater: shop jdbc_load: FAILED");
    mailer.send(&good).await.expect("sent");
    mailer.send(&good).await.expect("sent again");
    let told = sent();
    assert!(!told.is_empty());
    for (subject, text) in &told {
        assert_eq!(subject, &good.subject);
        assert!(text.contains("ümlaut & <more>"), "{text}");
        assert!(text.contains(&good.id), "{text}");
    }
    let long = "x".repeat(100);
    for subject in ["", "two\nlines", "Bcc:\tx", "ümlaut", &long] {
        let refused = mailer.send(&mail(subject)).await;
        assert!(
            matches!(&refused, Err(PortError::Refused { message, .. }) if message.contains("-end")),
            "{subject}: {refused:?}"
        );
    }
    assert_eq!(sent(), told);
}

#[tokio::test]
async fn memory_keeps_the_mail_contract() {
    let world = sim::world::World::default();
    keeps_the_contract(&world, || {
        let told = |mail: &Mail| (mail.subject.clone(), format!("{}{}", mail.body, mail.id));
        world.mails.borrow().iter().map(told).collect()
    })
    .await;
}

#[tokio::test]
async fn mail_files_keep_the_mail_contract() {
    let folder = InFolder::new();
    keeps_the_contract(&folder.local, || {
        std::fs::read_dir(folder.home().mail())
            .expect("a folder")
            .map(|entry| {
                let text = std::fs::read_to_string(entry.expect("an entry").path());
                read_mail(&text.expect("a mail"))
            })
            .collect()
    })
    .await;
}

/// Subject and text of a mail file; its body is in quoted-printable.
fn read_mail(text: &str) -> (String, String) {
    let subject = text
        .lines()
        .find_map(|line| line.strip_prefix("Subject: "))
        .expect("a subject");
    (subject.to_owned(), text.replace("=C3=BC", "ü"))
}

#[tokio::test]
async fn sns_keeps_the_mail_contract() {
    let aws = moto::stack("mail").await;
    let caller = aws.resources().stack.to_uppercase();
    keeps_the_contract(&aws, || {
        moto::server()
            .requests_of(&caller)
            .iter()
            .filter(|request| request["operation"] == "Publish")
            .map(published)
            .collect()
    })
    .await;
}

/// Subject and message of a recorded `Publish`.
fn published(request: &Value) -> (String, String) {
    let form = request["body"].as_str().expect("a form");
    let field = |name: &str| {
        let prefix = format!("{name}=");
        let value = form.split('&').find_map(|pair| pair.strip_prefix(&prefix));
        decoded(value.expect("in the form"))
    };
    (field("Subject"), field("Message"))
}

/// A value of a form, without its percent-encoding.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits"));
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).expect("hexadecimal digits")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn the_addresses_that_confirmed_are_counted() {
    let answer = "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>\
        <entry><key>SubscriptionsPending</key><value>1</value></entry>\
        <entry><key>SubscriptionsConfirmed</key><value>2</value></entry>\
        </Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>";
    let wire = Wire::start([
        Answer::Xml(answer),
        Answer::Xml("<GetTopicAttributesResponse/>"),
    ]);
    let aws = wire.aws().await;
    assert_eq!(aws.confirmed().await, Ok(2));
    let silent = aws.confirmed().await;
    assert!(
        matches!(silent, Err(PortError::Unknown { .. })),
        "{silent:?}"
    );
}
