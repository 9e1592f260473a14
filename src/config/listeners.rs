//! Named listeners and the addresses they are told by.

use std::fmt;

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext = 0,
    /// TLS.
    Ssl = 1,
    /// SASL without encryption.
    SaslPlaintext = 2,
    /// SASL over TLS.
    SaslSsl = 3,
}

impl SecurityProtocol {
    const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    /// Its number in a broker's registration.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The protocol of this number.
    pub fn from_code(code: i16) -> Option<SecurityProtocol> {
        SecurityProtocol::ALL.into_iter().find(|p| p.code() == code)
    }

    /// The protocol of this name, in capitals or not.
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        SecurityProtocol::ALL.into_iter().find(|p| p.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        })
    }
}

/// A listener's address, or the address that clients are told for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub name: String,
    /// A host name or address. To listen on, empty is every interface; advertised, it is the machine's own name.
    pub host: String,
    /// The port; 0 has the system choose one.
    pub port: u16,
    /// What is spoken there.
    pub protocol: SecurityProtocol,
}

/// As Kafka writes it: `NAME://host:port`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{}://[{}]:{}", self.name, self.host, self.port),
            false => write!(f, "{}://{}:{}", self.name, self.host, self.port),
        }
    }
}

impl Endpoint {
    /// Whether the host is none that a client could connect to.
    pub fn is_everywhere(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
    }
}

/// Which protocol each listener speaks: `listener.security.protocol.map`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolMap(Vec<(String, SecurityProtocol)>);

impl ProtocolMap {
    /// Reads the setting's value.
    pub fn parse(text: &str) -> Result<ProtocolMap, String> {
        let mut map: Vec<(String, SecurityProtocol)> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let Some((name, protocol)) = item.split_once(':') else {
                return Err(format!("'{item}' is not of the form NAME:PROTOCOL"));
            };
            let name = name.trim().to_uppercase();
            let Some(protocol) = SecurityProtocol::from_name(protocol.trim()) else {
                return Err(format!(
                    "'{protocol}' is not a security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
                ));
            };
            if map.iter().any(|(known, _)| *known == name) {
                return Err(format!("the listener {name} stands in it twice"));
            }
            map.push((name, protocol));
        }
        Ok(ProtocolMap(map))
    }

    /// What the listener of this name speaks.
    pub fn get(&self, name: &str) -> Option<SecurityProtocol> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, protocol)| *protocol)
    }
}

/// Reads a list of `NAME://host:port`. Controller listeners may be missing from the map: they are plaintext there.
pub fn parse(text: &str, map: &ProtocolMap, controllers: &[String]) -> Result<Vec<Endpoint>, String> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let form = || format!("'{item}' is not of the form NAME://host:port");
        let (name, address) = item.split_once("://").ok_or_else(form)?;
        let name = name.trim().to_uppercase();
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let (host, port) = address.rsplit_once(':').filter(|_| named).ok_or_else(form)?;
        let port: u16 = port
            .parse()
            .map_err(|_| format!("'{item}': the port is a number from 0 to 65535, not '{port}'"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains(':') => {
                return Err(format!("'{item}': an IPv6 address stands between [ and ]"));
            }
            None => host,
        };
        let protocol = match map.get(&name) {
            Some(protocol) => protocol,
            None if controllers.contains(&name) => SecurityProtocol::Plaintext,
            None => {
                return Err(format!(
                    "no security protocol is defined for the listener {name}: add {name}:PLAINTEXT to \
                     listener.security.protocol.map"
                ));
            }
        };
        if endpoints.iter().any(|known| known.name == name) {
            return Err(format!("each listener must have a different name: {name} stands there twice"));
        }
        endpoints.push(Endpoint { name, host: host.to_owned(), port, protocol });
    }
    Ok(endpoints)
}

/// Two listeners that want the same port on the same host.
pub fn same_port(endpoints: &[Endpoint]) -> Option<(&Endpoint, &Endpoint)> {
    endpoints.iter().enumerate().find_map(|(i, a)| {
        let clashes = |b: &&Endpoint| {
            b.port == a.port
                && a.port != 0
                && (b.host == a.host || b.is_everywhere() || a.is_everywhere())
                // Kafka allows one port for IPv4 and IPv6 each.
                && b.host.contains(':') == a.host.contains(':')
        };
        endpoints[i + 1..].iter().find(clashes).map(|b| (a, b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_map() -> ProtocolMap {
        ProtocolMap::parse("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL").unwrap()
    }

    #[test]
    fn listeners_are_read_and_written_as_kafka_does() {
        let text = "PLAINTEXT://:9092, ssl://host:0,INSIDE://[::1]:9093";
        let map = ProtocolMap::parse("PLAINTEXT:PLAINTEXT,SSL:ssl,inside:PLAINTEXT").unwrap();
        let shown: Vec<String> = parse(text, &map, &[]).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["PLAINTEXT://:9092", "SSL://host:0", "INSIDE://[::1]:9093"]);
        assert_eq!(parse("CONTROLLER://:1", &default_map(), &["CONTROLLER".into()]).unwrap().len(), 1);
    }

    #[test]
    fn wrong_listeners_are_told_apart() {
        for (text, part) in [
            ("PLAINTEXT:9092", "not of the form NAME://host:port"),
            ("PLAINTEXT://9092", "not of the form NAME://host:port"),
            ("://h:1", "not of the form NAME://host:port"),
            ("PLAINTEXT://h:65536", "the port is a number from 0 to 65535"),
            ("PLAINTEXT://::1:9092", "between [ and ]"),
            ("INSIDE://h:1", "add INSIDE:PLAINTEXT to listener.security.protocol.map"),
            ("PLAINTEXT://h:1,PLAINTEXT://h:2", "different name"),
        ] {
            let error = parse(text, &default_map(), &[]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(ProtocolMap::parse("A:TLS").unwrap_err().contains("SASL_SSL"));
        assert!(ProtocolMap::parse("A:SSL,a:SSL").unwrap_err().contains("twice"));
    }

    #[test]
    fn one_port_serves_one_listener() {
        let clash = |text: &str| same_port(&parse(text, &default_map(), &[]).unwrap()).is_some();
        assert!(clash("PLAINTEXT://:9092,SSL://:9092"));
        assert!(clash("PLAINTEXT://:9092,SSL://127.0.0.1:9092"));
        assert!(!clash("PLAINTEXT://127.0.0.1:9092,SSL://127.0.0.2:9092"));
        assert!(!clash("PLAINTEXT://:0,SSL://:0"));
        assert!(!clash("PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092"));
    }
}
