"""Options: where they are read from, what they may be, and the one line said about a wrong one."""

from dataclasses import fields

import pytest

from session.config import Config, ConfigError, parse

SECRET = "0123456789abcdef0123456789abcdef"
OPTIONS = [f"--{f.name.replace('_', '-')}" for f in fields(Config)]


def test_without_options_it_is_a_demo() -> None:
    """Every option has a default, and no key means demo mode."""
    config = parse([], {})

    assert Config() == config
    assert config.is_demo
    assert not config.has_jwt_key


def test_reads_the_command_line() -> None:
    """Numbers, words, flags and lists become what the fields are."""
    config = parse(
        ["--port=8001", "--drain-seconds", "2.5", "--log-format=json", "--query-token=false",
         "--jwt-algorithms=RS256, ES256,", "--jwt-secret=" + SECRET],
        {},
    )  # fmt: skip

    assert 8001 == config.port
    assert 2.5 == config.drain_seconds
    assert "json" == config.log_format
    assert config.query_token is False
    assert ("RS256", "ES256") == config.jwt_algorithms
    assert not config.is_demo


@pytest.mark.parametrize("field", fields(Config), ids=lambda f: f.name)
def test_every_option_is_read_from_the_environment(field: object) -> None:
    """``KEEPSEAT_<OPTION>`` sets each of them."""
    name: str = field.name  # type: ignore[attr-defined]
    samples: dict[str, tuple[str, object]] = {
        "redis_url": ("redis://h:1/0", "redis://h:1/0"),
        "log_format": ("json", "json"),
        "jwt_secret": (SECRET, SECRET),
        "jwt_previous_secret": (SECRET, SECRET),
        "hold_seconds": ("30", 30.0),
        "max_hold_seconds": ("900", 900.0),
        "max_message_bytes": ("70000", 70_000),
        "max_buffer_bytes": ("70000", 70_000),
        "trusted_proxies": ("10.0.0.0/8", ("10.0.0.0/8",)),
        "allowed_origins": ("https://a.example, http://b", ("https://a.example", "http://b")),
    }
    kinds: dict[type, tuple[str, object]] = {
        bool: ("true", True),
        int: ("7", 7),
        float: ("7.5", 7.5),
        str: ("word", "word"),
        tuple: ("a, b", ("a", "b")),
        type(None): ("true", True),
    }
    raw, expected = samples.get(name) or kinds[type(field.default)]  # type: ignore[attr-defined]

    config = parse([], {f"KEEPSEAT_{name.upper()}": raw})

    assert expected == getattr(config, name)


def test_the_command_line_goes_before_the_environment() -> None:
    """Command line, then ``KEEPSEAT_``, then what hosting platforms set."""
    environ = {"KEEPSEAT_PORT": "2", "PORT": "3"}

    assert 1 == parse(["--port=1"], environ).port
    assert 2 == parse([], environ).port
    assert 3 == parse([], {"PORT": "3"}).port


def test_reads_what_hosting_platforms_set() -> None:
    """``REDIS_URL`` before ``REDIS_HOST`` and ``REDIS_PORT``; ``JWT_SECRET``."""
    parts = {"REDIS_HOST": "cache", "REDIS_PORT": "7000"}

    assert "redis://cache:7000/0" == parse([], parts).redis_url
    assert "redis://cache:6379/0" == parse([], {"REDIS_HOST": "cache"}).redis_url
    assert "redis://u/1" == parse([], {**parts, "REDIS_URL": "redis://u/1"}).redis_url
    assert "redis://k/2" == parse([], {**parts, "KEEPSEAT_REDIS_URL": "redis://k/2"}).redis_url
    assert SECRET == parse([], {"JWT_SECRET": SECRET}).jwt_secret


@pytest.mark.parametrize(
    ("argv", "is_demo"),
    [
        ([], True),
        (["--jwt-secret=" + SECRET], False),
        (["--jwt-previous-secret=" + SECRET], False),
        (["--jwt-secret=" + SECRET, "--demo"], True),
        (["--jwt-secret=" + SECRET, "--demo=true"], True),
        (["--jwt-jwks-url=https://keys.example/jwks"], False),
    ],
)
def test_is_a_demo_only_without_a_key_unless_told(argv: list[str], is_demo: bool) -> None:
    """A key switches the demo off; ``--demo`` switches it on."""
    assert is_demo is parse(argv, {}).is_demo


def test_strangers_are_limited_where_addresses_can_be_told_apart() -> None:
    """Behind an unknown balancer all clients have one address, so the limit is off."""
    assert 0 == parse([], {}).unauthenticated_limit
    assert 100 == parse(["--trusted-proxies=10.0.0.0/8"], {}).unauthenticated_limit
    assert 5 == parse(["--max-unauthenticated-per-address=5"], {}).unauthenticated_limit


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--jwt-secret=short"], r"--jwt-secret: must have at least 32 bytes"),
        (["--jwt-previous-secret=short"], r"--jwt-previous-secret: must have at least 32 bytes"),
        (["--port=eighty"], r"--port: expected a number, got 'eighty'"),
        (["--port=-1"], r"--port: must be 0 or more, got -1"),
        (["--port=65536"], r"--port: must be 0 to 65535, got 65536"),
        (["--history-size=1.5"], r"--history-size: expected a number"),
        (["--drain-seconds=nan"], r"--drain-seconds: must be 0 or more, got nan"),
        (["--drain-seconds=inf"], r"--drain-seconds: must be 0 or more, got inf"),
        (["--query-token=perhaps"], r"--query-token: expected true or false, got 'perhaps'"),
        (["--demo=perhaps"], r"--demo: expected true or false, got 'perhaps'"),
        (["--log-format=xml"], r"--log-format: expected text or json, got 'xml'"),
        (["--hold-seconds=700"], r"--max-hold-seconds: must not be less than --hold-seconds"),
        (["--demo=false"], r"--demo=false needs a key"),
        (["--no-such-option=1"], r"--no-such-option"),
        (["--por=80"], r"--por"),
        (["--port"], r"--port: expected one argument"),
        (["stray"], r"stray"),
    ],
)
def test_says_in_one_line_what_is_wrong(argv: list[str], message: str) -> None:
    """The line names the option and what it may be."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse(argv, {})

    assert "\n" not in str(caught.value)


def test_a_wrong_variable_is_named_by_its_option() -> None:
    """What comes from the environment is checked as strictly."""
    with pytest.raises(ConfigError, match="--history-size: expected a number, got 'many'"):
        parse([], {"KEEPSEAT_HISTORY_SIZE": "many"})


def test_never_says_the_secret() -> None:
    """Not even a bad one."""
    with pytest.raises(ConfigError) as caught:
        parse(["--jwt-secret=hunter2"], {})

    assert "hunter2" not in str(caught.value)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a line of its own."""
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    text = capsys.readouterr().out

    assert 0 == caught.value.code
    assert [] == [option for option in OPTIONS if f"  {option} " not in text]
