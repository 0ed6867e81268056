"""URLs that nobody may have us call: by their form, and by where they lead."""

NOT_HTTP = [
    "",
    "example.com",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_X",
    "ftp://h/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/x",
    "//127.0.0.1/",
    "http:127.0.0.1",
    "http:/example.com/",
    "http:///x",
    "http://",
    "http://?x",
    "https:",
]
USER_INFO = [
    "http://u:p@ex.com/",
    "http://u@ex.com/",
    "http://:@ex.com/",
    "http://example.com@127.0.0.1/",
    "http://[::1]@example.com/",
    "http://example.com:80@127.0.0.1/",
]
MALFORMED = [
    "http://example.com\\@127.0.0.1/",
    "http://example.com\\.evil.com/",
    "http://exam\tple.com/",
    "http://example.com/\r\nX-Injected: 1",
    "http://example.com/\n",
    " http://example.com/",
    "http://example.com/a b",
    "http://example.com\x00.evil.com/",
    "http://example.com/\x7f",
    "http://127.0.0.1%09/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://example%2ecom%3a22/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://ⓛocalhost/",
    "http://\u217cocalhost/",
    "http://straße.de/",
    "http://exa\u200dmple.com/",
    "http://\ud800.com/",
    "http://[v1.x]/",
    "http://[::1/",
    "http://[::1]x/",
    "http://::1/",
    "http://a..b/",
    "http://.example.com/",
    "http://example.com../",
    "http://-a.example.com/",
    "http://a-.example.com/",
    "http://a!b.example.com/",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 127}com/",
    "http://example.com:0/",
    "http://example.com:00/",
    "http://example.com:99999/",
    "http://example.com:-1/",
    "http://example.com:80:80/",
    "http://example.com:٨٠/",
    "http://example.com:80x/",
    "http://example.com/" + "a" * 2048,
    "http://example.com/" + "ü" * 1000,
]
CLOSED_PORTS = [
    "http://example.com:22/",
    "http://example.com:25/",
    "https://example.com:6379/",
    "http://8.8.8.8:81/",
]
NUMBERS = (
    "127.0.0.1 127.1 0 0.0.0.0 2130706433 0x7f000001 0177.0.0.1 0x7f.1 017700000001 00000.0 127.0.0.1. 0x"
)
LITERALS = """
    10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 100.100.100.200 169.254.169.254 168.63.129.16
    192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1
    240.0.0.1 255.255.255.255 [::] [::1] [::ffff:127.0.0.1] [::ffff:7f00:1]
    [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::ffff:0:7f00:1] [64:ff9b::7f00:1] [64:ff9b::808:808]
    [64:ff9b:1::1] [2002:7f00:1::] [2001:0:7f00:1::] [2001:db8::1] [100::1] [fc00::1]
    [fd00:ec2::254] [fe80::1] [fe80::1%25lo] [fec0::1] [ff02::1] [3fff::1] [5f00::1] [4000::1]
    [2606::5efe:7f00:1]
"""
LOCAL_NAMES = "localhost LOCALHOST. redis api x.internal x.local x.localhost db.x.INTERNAL. cam.1"

INVALID = [*NOT_HTTP, *USER_INFO, *MALFORMED, *CLOSED_PORTS]
PRIVATE_HOSTS = [*NUMBERS.split(), *LITERALS.split(), *LOCAL_NAMES.split()]
