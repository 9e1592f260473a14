//! Broker settings: authentication, encryption, quotas.

use super::rows::*;
use super::{Allowed, Setting};

const JAVA: &str = "what is Java's own cannot run here";
const KERBEROS: &str = "no Kerberos";

pub(super) const ROWS: &[Setting] = &[
    string("authorizer.class.name", "")
        .low()
        .refused("access rules are not built yet, and without them everyone may do everything")
        .doc("The class that decides who may do what; empty for no rules."),
    class_("client.quota.callback.class")
        .low()
        .ignored(JAVA)
        .doc("The Java class that finds the quota of a client."),
    int("connection.failed.authentication.delay.ms", "100")
        .min(0)
        .low()
        .later()
        .doc("How long a connection stays open after its authentication failed, against guessing."),
    long("connections.max.reauth.ms", "0")
        .later()
        .doc("After how long a client must authenticate again; 0 never."),
    long("delegation.token.expiry.check.interval.ms", "3600000")
        .min(1)
        .low()
        .later()
        .doc("How often it is looked for delegation tokens that have run out."),
    long("delegation.token.expiry.time.ms", "86400000")
        .min(1)
        .later()
        .doc("How long a delegation token holds before it must be renewed."),
    long("delegation.token.max.lifetime.ms", "604800000")
        .min(1)
        .later()
        .doc("How long a delegation token can be renewed."),
    password("delegation.token.secret.key")
        .later()
        .doc("The secret from which delegation tokens are made; the same on all brokers."),
    class(
        "principal.builder.class",
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
    )
    .per_broker()
    .ignored(JAVA)
    .doc("The Java class that names the user of a connection."),
    int("quota.window.num", "11").min(1).low().doc("Samples kept for the quotas of clients."),
    int("quota.window.size.seconds", "1").min(1).low().doc("The time that one such sample covers."),
    class_("sasl.client.callback.handler.class")
        .ignored(JAVA)
        .doc("The Java class that answers for the client's side of SASL."),
    list("sasl.enabled.mechanisms", "GSSAPI")
        .per_broker()
        .later()
        .doc("The SASL mechanisms that are offered to clients."),
    password("sasl.jaas.config")
        .per_broker()
        .later()
        .doc("The users or credentials of a SASL mechanism, as a JAAS line."),
    string("sasl.kerberos.kinit.cmd", "/usr/bin/kinit")
        .per_broker()
        .ignored(KERBEROS)
        .doc("The path of kinit."),
    long("sasl.kerberos.min.time.before.relogin", "60000")
        .per_broker()
        .ignored(KERBEROS)
        .doc("The shortest time between two logins."),
    list("sasl.kerberos.principal.to.local.rules", "DEFAULT")
        .per_broker()
        .ignored(KERBEROS)
        .doc("How Kerberos principals become user names."),
    string_("sasl.kerberos.service.name")
        .per_broker()
        .ignored(KERBEROS)
        .doc("The Kerberos principal that brokers run under."),
    double("sasl.kerberos.ticket.renew.jitter", "0.05")
        .per_broker()
        .ignored(KERBEROS)
        .doc("The share of the renewal time that is left to chance."),
    double("sasl.kerberos.ticket.renew.window.factor", "0.8")
        .per_broker()
        .ignored(KERBEROS)
        .doc("After which share of a ticket's life it is renewed."),
    class_("sasl.login.callback.handler.class")
        .ignored(JAVA)
        .doc("The Java class that answers for the broker's own login."),
    class_("sasl.login.class").ignored(JAVA).doc("The Java class that logs the broker in."),
    int_("sasl.login.connect.timeout.ms")
        .low()
        .later()
        .doc("How long a connection to an identity provider may take."),
    int_("sasl.login.read.timeout.ms").low().later().doc("How long an identity provider may take to answer."),
    short("sasl.login.refresh.buffer.seconds", "300")
        .per_broker()
        .later()
        .doc("How long before its end a credential is renewed at the latest."),
    short("sasl.login.refresh.min.period.seconds", "60")
        .per_broker()
        .later()
        .doc("The shortest time between two renewals of a credential."),
    double("sasl.login.refresh.window.factor", "0.8")
        .per_broker()
        .later()
        .doc("After which share of a credential's life it is renewed."),
    double("sasl.login.refresh.window.jitter", "0.05")
        .per_broker()
        .later()
        .doc("The share of the renewal time that is left to chance."),
    long("sasl.login.retry.backoff.max.ms", "10000")
        .low()
        .later()
        .doc("The longest wait before an identity provider is asked again."),
    long("sasl.login.retry.backoff.ms", "100")
        .low()
        .later()
        .doc("The first wait before an identity provider is asked again."),
    string("sasl.mechanism.controller.protocol", "GSSAPI")
        .high()
        .later()
        .doc("The SASL mechanism towards controllers."),
    string("sasl.mechanism.inter.broker.protocol", "GSSAPI")
        .per_broker()
        .later()
        .doc("The SASL mechanism between brokers."),
    string("sasl.oauthbearer.assertion.algorithm", "RS256")
        .allow(Allowed::OneOfAnyCase(&["ES256", "RS256"]))
        .later()
        .doc("The algorithm that signs assertions for an identity provider."),
    string_("sasl.oauthbearer.assertion.claim.aud").later().doc("The audience that assertions name."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds", "300")
        .range(0, 86400)
        .low()
        .later()
        .doc("After how many seconds assertions run out."),
    string_("sasl.oauthbearer.assertion.claim.iss").later().doc("The issuer that assertions name."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include", "false")
        .later()
        .doc("Whether each assertion carries an id of its own."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds", "60")
        .range(0, 3600)
        .low()
        .later()
        .doc("How many seconds before now assertions begin to hold."),
    string_("sasl.oauthbearer.assertion.claim.sub").later().doc("The subject that assertions name."),
    string_("sasl.oauthbearer.assertion.file").later().doc("A file with a finished assertion."),
    string_("sasl.oauthbearer.assertion.private.key.file")
        .later()
        .doc("The file of the key that signs assertions."),
    password("sasl.oauthbearer.assertion.private.key.passphrase").later().doc("The passphrase of that key."),
    string_("sasl.oauthbearer.assertion.template.file")
        .later()
        .doc("A file with the fixed parts of assertions."),
    string_("sasl.oauthbearer.client.credentials.client.id")
        .later()
        .doc("The id by which the broker asks an identity provider for a token."),
    password("sasl.oauthbearer.client.credentials.client.secret")
        .later()
        .doc("The secret that goes with that id."),
    int("sasl.oauthbearer.clock.skew.seconds", "30")
        .low()
        .later()
        .doc("By how many seconds the clocks of broker and identity provider may differ."),
    list("sasl.oauthbearer.expected.audience", "")
        .low()
        .later()
        .doc("The audiences of which a token must name one."),
    string_("sasl.oauthbearer.expected.issuer").low().later().doc("The issuer that a token must name."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms", "3600000")
        .low()
        .later()
        .doc("How often the identity provider's keys are fetched anew."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "10000")
        .low()
        .later()
        .doc("The longest wait before the keys are asked for again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100")
        .low()
        .later()
        .doc("The first wait before the keys are asked for again."),
    string_("sasl.oauthbearer.jwks.endpoint.url")
        .later()
        .doc("Where the identity provider's keys are found."),
    class(
        "sasl.oauthbearer.jwt.retriever.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
    )
    .ignored(JAVA)
    .doc("The Java class that fetches tokens."),
    class(
        "sasl.oauthbearer.jwt.validator.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    )
    .ignored(JAVA)
    .doc("The Java class that checks tokens."),
    string_("sasl.oauthbearer.scope").later().doc("The scope that the broker asks for in its own token."),
    string("sasl.oauthbearer.scope.claim.name", "scope")
        .low()
        .later()
        .doc("The name of a token's scope claim."),
    string("sasl.oauthbearer.sub.claim.name", "sub")
        .low()
        .later()
        .doc("The name of a token's subject claim."),
    string_("sasl.oauthbearer.token.endpoint.url")
        .later()
        .doc("Where the identity provider gives tokens out."),
    class_("sasl.server.callback.handler.class")
        .ignored(JAVA)
        .doc("The Java class that answers for the broker's side of SASL."),
    int("sasl.server.max.receive.size", "524288")
        .later()
        .doc("The largest SASL message that is read before a client has authenticated."),
    string("security.inter.broker.protocol", "PLAINTEXT")
        .allow(Allowed::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]))
        .doc("The protocol between brokers; or name a listener with inter.broker.listener.name."),
    string_("security.providers").low().ignored(JAVA).doc("Java classes that provide security algorithms."),
    boolean("ssl.allow.dn.changes", "false")
        .low()
        .later()
        .doc("Whether a new certificate may carry another distinguished name."),
    boolean("ssl.allow.san.changes", "false")
        .low()
        .later()
        .doc("Whether a new certificate may drop alternative names."),
    list("ssl.cipher.suites", "")
        .per_broker()
        .later()
        .doc("The cipher suites that are allowed; empty for the default ones."),
    string("ssl.client.auth", "none")
        .allow(Allowed::OneOf(&["required", "requested", "none"]))
        .per_broker()
        .later()
        .doc("Whether clients must, may or do not show a certificate: required, requested, none."),
    list("ssl.enabled.protocols", "TLSv1.2,TLSv1.3")
        .per_broker()
        .later()
        .doc("The versions of TLS that are allowed."),
    string("ssl.endpoint.identification.algorithm", "https")
        .low()
        .per_broker()
        .later()
        .doc("How the name of the other side is checked against its certificate; empty for not at all."),
    class_("ssl.engine.factory.class")
        .low()
        .per_broker()
        .ignored(JAVA)
        .doc("The Java class that makes TLS engines."),
    password("ssl.key.password").per_broker().later().doc("The password of the private key."),
    string("ssl.keymanager.algorithm", "SunX509")
        .per_broker()
        .ignored(JAVA)
        .doc("The algorithm of Java's key manager."),
    password("ssl.keystore.certificate.chain")
        .per_broker()
        .later()
        .doc("The certificate chain, as PEM text."),
    password("ssl.keystore.key").per_broker().later().doc("The private key, as PEM text."),
    string_("ssl.keystore.location")
        .per_broker()
        .later()
        .doc("The file that holds the private key and its certificates."),
    password("ssl.keystore.password").per_broker().later().doc("The password of that file."),
    string("ssl.keystore.type", "JKS")
        .per_broker()
        .later()
        .doc("The format of that file: JKS, PKCS12 or PEM."),
    string("ssl.principal.mapping.rules", "DEFAULT")
        .low()
        .later()
        .doc("How the name in a client's certificate becomes a user name."),
    string("ssl.protocol", "TLSv1.3").per_broker().later().doc("The version of TLS to begin with."),
    string_("ssl.provider").per_broker().ignored(JAVA).doc("Java's provider of TLS."),
    string_("ssl.secure.random.implementation")
        .low()
        .per_broker()
        .ignored(JAVA)
        .doc("Java's source of chance for TLS."),
    string("ssl.trustmanager.algorithm", "PKIX")
        .per_broker()
        .ignored(JAVA)
        .doc("The algorithm of Java's trust manager."),
    password("ssl.truststore.certificates")
        .per_broker()
        .later()
        .doc("The certificates that are trusted, as PEM text."),
    string_("ssl.truststore.location")
        .per_broker()
        .later()
        .doc("The file that holds the certificates that are trusted."),
    password("ssl.truststore.password").per_broker().later().doc("The password of that file."),
    string("ssl.truststore.type", "JKS")
        .per_broker()
        .later()
        .doc("The format of that file: JKS, PKCS12 or PEM."),
];
