//! What a wrong store does wrong. The name of each fault, in words, completes "A store that …" in the table.

/// The faults of each kind of store.
macro_rules! faults {
    ($($kind:ident { $($name:ident),* $(,)? })*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault {
            $($($name,)*)*
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind {
            $($kind,)*
        }

        impl Fault {
            pub(super) const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// Which store has it.
            pub(super) const fn kind(self) -> Kind {
                match self {
                    $($(Self::$name)|* => Kind::$kind,)*
                }
            }
        }
    };
}

faults! {
    Entries {
        ClaimsInTwoSteps, TakesOverInTwoSteps, ReplacesExpiredRecordsInTwoSteps, RenewsInTwoSteps, CheckpointsInTwoSteps,
        SuspendsInTwoSteps, CompletesInTwoSteps, ReleasesInTwoSteps, ResolvesInTwoSteps, WithdrawsInTwoSteps,
        SweepsInTwoSteps,
        HoldsOneKeyAtATime, IgnoresTheCaseOfIds,
        RenewsForAnyToken, CheckpointsForAnyToken, SuspendsForAnyToken, CompletesForAnyToken, ReleasesForAnyToken,
        ResolvesForAnyToken, WithdrawsForAnyToken, RenewsBeforeItCompares, ShutsOutLateOwners, RenewsAnAbsentRecord,
        ReleasesACompletedRecord,
        RefusesItsOwnClaim, CountsARepeatedClaim, RefusesARepeatedCompletion, CompletesTwice, RefusesARepeatedSuspension,
        TakesOverForAnotherRequest, TakesOverForAClaimThatMayNot, TakesOverLivingHolds, RepliesWithAnotherFingerprint,
        ReplaysToTheSameRequestOnly, ExtendsTheTtlByAReplay,
        ReplaysExpiredRecords, RenewsExpiredRecords, InspectsExpiredRecords, ListsExpiredRecords, ReadsAnotherClock,
        ForgetsAbandonedHoldsWithTheirLease, KeepsAbandonedHolds, RefusesALeaseOfZero, RefusesTimesWithoutEnd,
        CutsOutcomes, CutsProgress, TakesLongerOutcomes, TakesLongerProgress, ErasesBeyondItsLimit, ReportsALongerLimit,
        FreesTheKeyOfALongOutcome,
        RenewsWithoutProgress, TakesOverWithoutProgress, LeavesProgressBehind, AppendsProgress, TakesShorterProgress,
        ForgetsWithdrawnTokens, ForgetsReleasedTokens, ForgetsSuspendedTokens, ForgetsTokensThatOperatorsRelease,
        ForgetsTokensOfForgottenRecords, ForgetsWithdrawnTokensAfterALease, ForgetsWithdrawnSuccessorsEarly,
        ForgetsReleasedTokensEarly, ForgetsSuspendedTokensEarly, ForgetsWhatOperatorsSpentEarly, RemembersOneSpentToken,
        RenewsWithoutSpentTokens, TakesOverWithoutSpentTokens, RepliesInFlightToSpentTokens, InspectsFreeKeys,
        ListsFreeKeys,
        WithdrawsNothing, LapsesAWithdrawnFirstClaim, FreesAWithdrawnTakeOver, RestoresALivingHold,
        ForgetsWithdrawnTokensBesideARun, WithdrawsLapsedRunsOfOthers, WithdrawsAgainEachTime,
        GivesEveryHoldOneLease, GivesEveryOutcomeOneTtl, RenewsNothing, ExtendsTheOldLease, ExtendsTheLeaseByACheckpoint,
        SuspendsUntilTheLeaseEnds, SuspendsWithoutProgress, CountsTheTtlFromTheClaim, KeepsTheTtlOfTheClaim,
        ReturnsTheTimeOfTheCompletion, ReleasesByLapsing,
        TakesOverWithNewLabels, TakesOverWithANewTime, CompletesWithoutATime,
        ListsInAnyOrder, ListsBeyondItsLimit, ListsFromTheStart, ListsEveryPhase, ListsEveryAge, ListsEveryLabel,
        ResolvesLapsedHoldsOnly, ResolvesLivingHoldsOnly, RefusesToResolveSpentHolds, ResolvesForTheOldOwner,
        ExtendsTheTtlByAReplacement, ErasesNoLabel, ErasesTheRouteToo, ForgetsRunningRecords,
        SweepsBeyondItsLimit, SweepsLapsedHolds, SweepsCompletedRecords, CountsWhatItDidNotSweep,
        LeavesARecordOfItsVerification,
        WakesNobodyAtACompletion, WakesNobodyAtARelease, WakesNobodyAtASuspension, WakesNobodyAtAWithdrawal,
        WakesNobodyAtAResolution, WakesForStrangers, WakesEveryone,
    }
    Limited {
        TakesEveryKey, ReportsRoomForEveryKey, ForgetsOldKeysWhenFull, RefusesCompletionsWhenFull, LetsAScopeFillTheStore,
        CallsAFullScopeAFullStore, CallsAFullStoreAFullScope, SpendsTheTokenOfARefusedClaim, KeepsTheRoomOfFreedKeys,
        NeverSweeps, CountsNoOutcomes,
    }
    Wrapper {
        PassesStepsWithoutAFutureOn, TakesStepsAndReturnsNothing, EncodesNoTransactions, EncodesNoResolutions,
        EncodesWithTheToken, ReplaysEncodedOutcomes, InspectsEncodedOutcomes, ListsEncodedOutcomes, KeepsTheLimitBehindIt,
    }
}

impl Fault {
    /// Its name in words.
    pub(super) fn words(self) -> String {
        let mut words = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.push(letter.to_ascii_lowercase());
        }
        words
    }
}
