"""The video data sets as data: where the official archives are, what they hold, and how it is laid out.

Checksums are other catalogues'; the data sets' own pages publish none. Each names its source; if no source was
found there is none here, and the first download is recorded instead (see `fetch`). Sizes serve
cost estimates alone; if the source of one is not named beside it, it is a rounded estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

from squeezebench.base.errors import InputError


@dataclass(frozen=True)
class Archive:
    """One file to fetch, and the folder (below the data set's) that it is unpacked to."""

    address: str
    digest: str | None
    size: int  # bytes, about
    folder: str  # "clips" or "splits"
    nested: bool = False  # whether it holds archives

    @property
    def file(self) -> str:
        """The file's name."""
        return self.address.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class VideoSet:
    """One data set. `counts` are clips per class; a class whose number no source gives has 0 there."""

    name: str
    title: str
    archives: tuple[Archive, ...]
    counts: dict[str, int]
    clips: int  # in all
    roots: tuple[str, ...]  # folders of the archive above the class folders, as they have been published
    suffixes: tuple[str, ...]
    group: str  # regular expression on a clip's path below the class folder, without suffix; {name} is the class
    groups: int | None  # per class, if the data set is made of so many
    splits: int = 0  # official splits
    citation: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their labels: UCF101's classInd.txt, alphabetical elsewhere."""
        return tuple(self.counts)


def _counts(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in (word.split(":") for word in text.split())}


UCF11 = VideoSet(
    name="ucf11",
    title="UCF11 (UCF YouTube Action)",
    archives=(
        # No checksum found in any catalogue. 1.05 GB as users of the archive report; the server says no more.
        Archive("https://www.crcv.ucf.edu/data/UCF11_updated_mpg.rar", None, 1_050_000_000, "clips"),
    ),
    # The page gives the total and 25 groups for each class, no number for a class.
    counts=_counts(
        """
        basketball:0 biking:0 diving:0 golf_swing:0 horse_riding:0 soccer_juggling:0 swing:0 tennis_swing:0
        trampoline_jumping:0 volleyball_spiking:0 walking:0
        """
    ),
    clips=1600,
    # The second is the older archive, https://www.crcv.ucf.edu/data/YouTube_DataSet_Annotated.zip (.avi, no sound).
    roots=("UCF11_updated_mpg", "action_youtube_naudio"),
    suffixes=(".mpg", ".avi"),
    group=r"(v_.+_\d+)/.+",
    groups=25,
    citation="Liu, Luo and Shah, Recognizing realistic actions from videos in the wild, CVPR 2009",
)

UCF101 = VideoSet(
    name="ucf101",
    title="UCF101",
    archives=(
        # MD5: public PyTorch Lightning loaders (`class UCF101DataModule`, `md5_video`), which download through
        # torchvision with this check; no official catalogue has one. Size: the server's Content-Length.
        Archive(
            "https://www.crcv.ucf.edu/data/UCF101/UCF101.rar",
            "md5:6463accf4bbc20fa6418ab7f159e6149",
            6_932_971_618,
            "clips",
        ),
        # SHA-256 and size: tensorflow/datasets, tensorflow_datasets/url_checksums/ucf101.txt (24211da).
        Archive(
            "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
            "sha256:5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
            113_943,
            "splits",
        ),
    ),
    # Counted in the official lists; split 1 names every clip once.
    counts=_counts(
        """
        ApplyEyeMakeup:145 ApplyLipstick:114 Archery:145 BabyCrawling:132 BalanceBeam:108 BandMarching:155
        BaseballPitch:150 Basketball:134 BasketballDunk:131 BenchPress:160 Biking:134 Billiards:150 BlowDryHair:131
        BlowingCandles:109 BodyWeightSquats:112 Bowling:155 BoxingPunchingBag:163 BoxingSpeedBag:134 BreastStroke:101
        BrushingTeeth:131 CleanAndJerk:112 CliffDiving:138 CricketBowling:139 CricketShot:167 CuttingInKitchen:110
        Diving:150 Drumming:161 Fencing:111 FieldHockeyPenalty:126 FloorGymnastics:125 FrisbeeCatch:126 FrontCrawl:137
        GolfSwing:139 Haircut:130 Hammering:140 HammerThrow:150 HandstandPushups:128 HandstandWalking:111
        HeadMassage:147 HighJump:123 HorseRace:124 HorseRiding:164 HulaHoop:125 IceDancing:158 JavelinThrow:117
        JugglingBalls:121 JumpingJack:123 JumpRope:144 Kayaking:141 Knitting:123 LongJump:131 Lunges:127
        MilitaryParade:125 Mixing:136 MoppingFloor:110 Nunchucks:132 ParallelBars:114 PizzaTossing:113
        PlayingCello:164 PlayingDaf:151 PlayingDhol:164 PlayingFlute:155 PlayingGuitar:160 PlayingPiano:105
        PlayingSitar:157 PlayingTabla:111 PlayingViolin:100 PoleVault:149 PommelHorse:123 PullUps:100 Punch:160
        PushUps:102 Rafting:111 RockClimbingIndoor:144 RopeClimbing:119 Rowing:137 SalsaSpin:133 ShavingBeard:161
        Shotput:144 SkateBoarding:120 Skiing:135 Skijet:100 SkyDiving:110 SoccerJuggling:147 SoccerPenalty:137
        StillRings:112 SumoWrestling:116 Surfing:126 Swing:131 TableTennisShot:140 TaiChi:100 TennisSwing:166
        ThrowDiscus:130 TrampolineJumping:119 Typing:136 UnevenBars:104 VolleyballSpiking:116 WalkingWithDog:123
        WallPushups:130 WritingOnBoard:152 YoYo:128
        """
    ),
    clips=13_320,
    roots=("UCF-101",),
    suffixes=(".avi",),
    group=r"v_.+_(g\d+)_c\d+",
    groups=25,
    splits=3,
    citation="Soomro, Zamir and Shah, UCF101: a dataset of 101 human actions classes, CRCV-TR-12-01, 2012",
)

HMDB51 = VideoSet(
    name="hmdb51",
    title="HMDB51",
    archives=(
        # MD5: google-deepmind/brave, brave/download_hmdb.py (MD5_OF_VIDEOS_FILE). 51 RAR files inside, about 2 GB.
        Archive(
            "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/hmdb51_org.rar",
            "md5:517d6f1f19f215c45cdd4d25356be1fb",
            2_100_000_000,
            "clips",
            nested=True,
        ),
        # MD5: pytorch/vision, torchvision/datasets/hmdb51.py (and the file above: MD5_OF_SPLITS_FILE).
        Archive(
            "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10/test_train_splits.rar",
            "md5:15e67781e70dcfbdce2d7dbb9b3344b5",
            200_000,
            "splits",
        ),
    ),
    # Counted in the official lists; each split names every clip once.
    counts=_counts(
        """
        brush_hair:107 cartwheel:107 catch:102 chew:109 clap:130 climb:108 climb_stairs:112 dive:127 draw_sword:103
        dribble:145 drink:164 eat:108 fall_floor:136 fencing:116 flic_flac:107 golf:105 handstand:113 hit:127 hug:118
        jump:151 kick:130 kick_ball:128 kiss:102 laugh:128 pick:106 pour:106 pullup:104 punch:126 push:116 pushup:103
        ride_bike:103 ride_horse:116 run:232 shake_hands:162 shoot_ball:131 shoot_bow:112 shoot_gun:103 sit:142
        situp:105 smile:102 smoke:109 somersault:140 stand:154 swing_baseball:143 sword:127 sword_exercise:127
        talk:120 throw:102 turn:240 walk:548 wave:104
        """
    ),
    clips=6_766,
    roots=("", "hmdb51_org"),
    suffixes=(".avi",),
    # SOURCE_class_BODY_CAMERA_npN_VIEW_QUALITY_N: the official lists never split one source of a class.
    group=r"(.+)_{name}_[hufl]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:goo|med|bad)_\d+",
    groups=None,
    splits=3,
    citation="Kuehne, Jhuang, Garrote, Poggio and Serre, HMDB: a large video database, ICCV 2011",
)

VIDEO_SETS = {entry.name: entry for entry in (UCF11, UCF101, HMDB51)}


def video_set(name: str) -> VideoSet:
    """The data set of that name. Raises InputError with the names there are."""
    if name not in VIDEO_SETS:
        raise InputError(f"video data set {name!r}: choose one of {', '.join(VIDEO_SETS)}")
    return VIDEO_SETS[name]
