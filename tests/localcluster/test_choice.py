"""Which kind of cluster a machine gets."""

from dataclasses import replace

import pytest

from localcluster.choice import Kind, choose, missing_prerequisites
from localcluster.errors import MissingPrerequisiteError
from localcluster.machine import Facts

BARE_DEBIAN = Facts(
    system="Linux",
    root=True,
    may_unshare=True,
    docker_answers=False,
    docker_builds=False,
    has_apt=True,
    missing_packages=("runc", "buildah"),
    kernel=(6, 1),
)
LAPTOP = Facts(
    system="Darwin",
    root=False,
    may_unshare=False,
    docker_answers=True,
    docker_builds=True,
    has_apt=False,
    missing_packages=("runc",),
    kernel=(24, 1),
)


def test_docker_that_answers_means_kind_whatever_else_is_true() -> None:
    assert choose(LAPTOP) is Kind.KIND
    assert choose(replace(BARE_DEBIAN, docker_answers=True, docker_builds=True)) is Kind.KIND


def test_docker_that_cannot_build_is_not_chosen() -> None:
    assert choose(replace(BARE_DEBIAN, docker_answers=True)) is Kind.LOCAL
    with pytest.raises(MissingPrerequisiteError, match=r"^Install Docker's buildx \(the package docker-buildx-plugin"):
        choose(replace(LAPTOP, docker_builds=False))


def test_root_on_linux_gets_our_own_cluster() -> None:
    assert choose(BARE_DEBIAN) is Kind.LOCAL


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        (replace(LAPTOP, docker_answers=False), "only on Linux"),
        (replace(BARE_DEBIAN, root=False), "as root"),
        (replace(BARE_DEBIAN, may_unshare=False), "privileged container"),
        (replace(BARE_DEBIAN, kernel=(5, 10)), "5.13"),
        (replace(BARE_DEBIAN, has_apt=False), "runc, buildah"),
    ],
)
def test_elsewhere_one_sentence_says_what_to_do(facts: Facts, advice: str) -> None:
    with pytest.raises(MissingPrerequisiteError) as caught:
        choose(facts)
    sentence = str(caught.value)
    assert advice in sentence
    assert sentence.startswith("Install Docker and start it")
    assert sentence.count("\n") == 0
    assert missing_prerequisites(facts) == [sentence]


def test_a_machine_without_apt_that_has_everything_is_good() -> None:
    facts = replace(BARE_DEBIAN, has_apt=False, missing_packages=())
    assert choose(facts) is Kind.LOCAL
    assert missing_prerequisites(facts) == []


def test_packages_still_to_come_are_named() -> None:
    (sentence,) = missing_prerequisites(BARE_DEBIAN)
    assert "apt-get install runc buildah" in sentence
