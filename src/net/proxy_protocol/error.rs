//! What can be wrong with a header of the PROXY protocol.

use std::fmt;

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// The connection begins with something else.
    NoHeader,
    /// A line of version 1 is too long.
    LineTooLong,
    /// A line of version 1 does not end with CR LF.
    LineEnd,
    /// Version 1 names something else than TCP4, TCP6 or UNKNOWN.
    Transport,
    /// Version 1 does not have two addresses and two ports, with one space before each.
    Parts,
    /// An address of version 1 is not one of its family.
    Address,
    /// A port of version 1 is not a number from 0 to 65535 without leading zeros.
    Port,
    /// The binary header is not of version 2.
    Version,
    /// The command is neither LOCAL nor PROXY.
    Command,
    /// The family or the transport is not known.
    Family,
    /// The connection is said to be of datagrams.
    Datagrams,
    /// The block is longer than we take.
    BlockTooLong,
    /// The block is too short for the addresses of its family.
    BlockTooShort,
    /// The TLVs behind the addresses do not fill the block exactly.
    Tlv,
    /// The checksum is wrong, is there twice, or does not have 4 bytes.
    Checksum,
}

impl ProxyError {
    /// All of them.
    pub const ALL: &[ProxyError] = &[
        ProxyError::NoHeader,
        ProxyError::LineTooLong,
        ProxyError::LineEnd,
        ProxyError::Transport,
        ProxyError::Parts,
        ProxyError::Address,
        ProxyError::Port,
        ProxyError::Version,
        ProxyError::Command,
        ProxyError::Family,
        ProxyError::Datagrams,
        ProxyError::BlockTooLong,
        ProxyError::BlockTooShort,
        ProxyError::Tlv,
        ProxyError::Checksum,
    ];

    /// A stable name in snake case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            ProxyError::NoHeader => "proxy_no_header",
            ProxyError::LineTooLong => "proxy_line_too_long",
            ProxyError::LineEnd => "proxy_line_end",
            ProxyError::Transport => "proxy_transport",
            ProxyError::Parts => "proxy_parts",
            ProxyError::Address => "proxy_address",
            ProxyError::Port => "proxy_port",
            ProxyError::Version => "proxy_version",
            ProxyError::Command => "proxy_command",
            ProxyError::Family => "proxy_family",
            ProxyError::Datagrams => "proxy_datagrams",
            ProxyError::BlockTooLong => "proxy_block_too_long",
            ProxyError::BlockTooShort => "proxy_block_too_short",
            ProxyError::Tlv => "proxy_tlv",
            ProxyError::Checksum => "proxy_checksum",
        }
    }

    /// What is wrong, in a sentence.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            ProxyError::NoHeader => {
                "The connection does not begin with a PROXY protocol header; switch it on at the proxy, or off here."
            }
            ProxyError::LineTooLong => "The PROXY line has more than 107 bytes.",
            ProxyError::LineEnd => "The PROXY line does not end with CR LF.",
            ProxyError::Transport => "The PROXY line names a transport other than TCP4, TCP6 and UNKNOWN.",
            ProxyError::Parts => "The PROXY line does not have two addresses and two ports, one space before each.",
            ProxyError::Address => "The PROXY line has an address that is not one of its transport.",
            ProxyError::Port => "The PROXY line has a port that is not a number from 0 to 65535 without leading zeros.",
            ProxyError::Version => "The binary PROXY header is not of version 2.",
            ProxyError::Command => "The PROXY header's command is neither LOCAL nor PROXY.",
            ProxyError::Family => "The PROXY header's family or transport is not known.",
            ProxyError::Datagrams => "The PROXY header speaks of datagrams, and this is a stream.",
            ProxyError::BlockTooLong => "The PROXY header is longer than is taken.",
            ProxyError::BlockTooShort => "The PROXY header is too short for its addresses.",
            ProxyError::Tlv => "The PROXY header's additional fields do not end where the header does.",
            ProxyError::Checksum => "The PROXY header's checksum is wrong.",
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.detail())
    }
}

impl std::error::Error for ProxyError {}
