"""
Tests for L{holepunch.nat.behaviour}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import UsageError
from holepunch.nat import NAMED_BEHAVIOURS, Filtering, Mapping, NATBehaviour, classicName

EI, AD, APD = Mapping
F_EI, F_AD, F_APD = Filtering


class ClassicNameTests(SynchronousTestCase):
    """
    The names of RFC 3489.
    """

    def test_cones(self) -> None:
        """
        With an endpoint-independent mapping, the filter makes the name.
        """
        self.assertEqual(
            [classicName(EI, filtering) for filtering in Filtering],
            ["full cone", "restricted cone", "port-restricted cone"],
        )

    def test_symmetric(self) -> None:
        """
        Any other mapping is symmetric, whatever the filter.
        """
        names = {classicName(mapping, f) for mapping in (AD, APD) for f in Filtering}
        self.assertEqual(names, {"symmetric"})

    def test_ofBehaviour(self) -> None:
        """
        A behaviour knows its classic name.
        """
        self.assertEqual(NATBehaviour(mapping=EI, filtering=F_AD).classicName, "restricted cone")


class NATBehaviourTests(SynchronousTestCase):
    """
    The value.
    """

    def test_wireTexts(self) -> None:
        """
        The vocabulary's values are the words of RFC 4787, which reports print.
        """
        words = ["endpoint-independent", "address-dependent", "address-and-port-dependent"]
        self.assertEqual([mapping.value for mapping in Mapping], words)
        self.assertEqual([filtering.value for filtering in Filtering], words)

    def test_senselessNumbers(self) -> None:
        """
        Numbers that no device can have are refused.
        """
        good = NATBehaviour(mapping=EI, filtering=F_EI)
        senseless: list[dict[str, Any]] = [
            {"portStep": 0},
            {"firstPort": 0},
            {"lastPort": 1023},
            {"lastPort": 65536},
            {"udpTimeout": 0.0},
            {"udpTimeout": float("nan")},
            {"tcpEstablishedTimeout": -1.0},
            {"tcpTransitoryTimeout": 0.0},
            {"maxMappings": 0},
            {"maxMappingsPerHost": 0},
            {"maxSessions": 0},
        ]
        for changes in senseless:
            with self.assertRaises(UsageError, msg=changes):
                attrs.evolve(good, **changes)

    def test_defaultsFollowTheRFCs(self) -> None:
        """
        Unless told otherwise, timers are at least those of RFC 4787 REQ-5 and RFC 5382 REQ-5.
        """
        behaviour = NATBehaviour(mapping=EI, filtering=F_EI)
        self.assertGreaterEqual(behaviour.udpTimeout, 120)
        self.assertGreaterEqual(behaviour.tcpEstablishedTimeout, 2 * 3600 + 4 * 60)
        self.assertGreaterEqual(behaviour.tcpTransitoryTimeout, 4 * 60)


class NamedBehavioursTests(SynchronousTestCase):
    """
    The examples with names.
    """

    def test_classicOnes(self) -> None:
        """
        The four classic kinds are there, and are what their names say.
        """
        for name, mapping, filtering in (
            ("full-cone", EI, F_EI),
            ("address-restricted", EI, F_AD),
            ("port-restricted", EI, F_APD),
            ("symmetric", APD, F_APD),
        ):
            behaviour = NAMED_BEHAVIOURS[name]
            self.assertEqual((behaviour.mapping, behaviour.filtering), (mapping, filtering), name)

    def test_readOnly(self) -> None:
        """
        Nobody can change them for everybody else.
        """
        with self.assertRaises(TypeError):
            NAMED_BEHAVIOURS["full-cone"] = NAMED_BEHAVIOURS["symmetric"]  # type: ignore[index]
